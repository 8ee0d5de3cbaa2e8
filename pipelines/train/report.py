"""The report of a training."""

from pydantic import BaseModel, ConfigDict


class TrainReport(BaseModel):
    """The results of a training."""

    model_config = ConfigDict(frozen=True)

    run_id: str | None = None
    """MLflow run; after a dry run this, the model id, bundle and version are None."""
    model_id: str | None = None
    bundle: str | None = None
    """URI of the bundle."""
    version: str | None = None
    """Version in the MLflow registry."""
    promoted: bool = False
    """Whether the version took the alias."""
    chips: int
    """Number of chips to train on; without labels, of windows that were sampled."""
    scenes: int | None = None
    """Without labels: number of scenes with windows; in a dry run, of scenes that the source lists."""
    validation_chips: int
    classes: int
    unreadable: dict[str, str] = {}
    """Scenes that couldn't be read, and why."""
    metrics: dict[str, float] = {}
    """Figures of the codes of the validation chips."""
    tracking_failed: str | None = None
    """Why MLflow lacks some of this, if it does; the bundle is complete."""
    seconds: float
