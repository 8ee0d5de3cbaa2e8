"""Training figures to MLflow, from Ray Train's controller: they go on in one run when workers restart."""

from typing import Any

from ray.train import UserCallback

from pipelines.config import TrackingConfig
from pipelines.tracking import log_metrics


class MetricsToMLflow(UserCallback):
    """Logs each epoch's loss, term by term."""

    def __init__(self, config: TrackingConfig, run_id: str) -> None:
        """Log into the run that the driver has opened."""
        self.config, self.run_id = config, run_id

    def after_report(
        self,
        run_context: object,  # noqa: ARG002 - the signature is Ray's
        metrics: list[dict[str, Any]],
        checkpoint: object,  # noqa: ARG002
    ) -> None:
        """Log one epoch: every worker has seen the loss of the global batch, so one speaks for all."""
        figures = {f"train_{name}": value for name, value in metrics[0].items() if name != "epoch"}
        log_metrics(self.config, self.run_id, figures, step=metrics[0]["epoch"])
