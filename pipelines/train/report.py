"""What a training reports."""

from pydantic import BaseModel, ConfigDict


class TrainReport(BaseModel):
    """What a training made."""

    model_config = ConfigDict(frozen=True)

    run_id: str | None = None
    """MLflow run; None, as all that follows, after a dry run."""
    model_id: str | None = None
    bundle: str | None = None
    """URI of the bundle."""
    version: str | None = None
    """Version in the MLflow registry."""
    promoted: bool = False
    """Whether the version took the alias."""
    chips: int
    """Chips to train on; without labels, the windows that were sampled."""
    scenes: int | None = None
    """Without labels: the scenes that the windows are of, in a dry run those that the source lists."""
    validation_chips: int
    classes: int
    unreadable: dict[str, str] = {}
    """Scenes that couldn't be read, and why."""
    metrics: dict[str, float] = {}
    """Of the codes of the validation chips."""
    tracking_failed: str | None = None
    """Why MLflow doesn't have all of this; the bundle stands where it is."""
    seconds: float
