"""Training figures to MLflow: all in one run, also if workers are restarted."""

import time
from typing import Any

import structlog
from ray.train import UserCallback

from pipelines.config import TrackingConfig
from pipelines.errors import TrackingError
from pipelines.registry.tracking import log_series
from pipelines.train.loop import Metrics, Steps
from pipelines.train.validation import SCORE

log = structlog.get_logger()

_PAUSE = 60.0  # seconds before the next try if MLflow is down, as each try takes some seconds


class EpochLog:
    """Logs each step's loss terms, and each epoch's figures at its last step; each epoch once."""

    def __init__(self, config: TrackingConfig, run_id: str, prefix: str = "") -> None:
        """Log into the run that the driver has opened."""
        self.config, self.run_id, self.prefix = config, run_id, prefix
        self.epochs = 0
        self.last: Metrics = {}
        self._unsent: list[tuple[str, float, int]] = []
        self._next_try = 0.0  # by the monotonic clock

    def __call__(self, metrics: Metrics) -> None:
        """Log an epoch, unless it was logged before its worker was restarted."""
        if metrics.get("epoch", 0) <= self.epochs:
            return
        self.epochs, self.last = metrics["epoch"], metrics
        steps = metrics["steps"]
        before = len(steps) * (self.epochs - 1)
        series = [
            (f"{self.prefix}train_{name}", value, step)
            for step, terms in enumerate(steps, start=before + 1)
            for name, value in terms.items()
        ]
        series += [
            (self.prefix + name, value, before + len(steps))
            for name, value in metrics.items()
            if name != "steps"
        ]
        self._unsent += series
        if time.monotonic() >= self._next_try:
            self._send()

    def _send(self) -> None:
        """Send all figures that MLflow doesn't have yet. If it is down, a later epoch tries again."""
        try:
            log_series(self.config, self.run_id, self._unsent)
        except TrackingError as error:
            log.warning("figures wait for MLflow", figures=len(self._unsent), reason=str(error))
            self._next_try = time.monotonic() + _PAUSE
        else:
            self._unsent = []


class LogEpochs(UserCallback):
    """Logs what workers report, in Ray Train's controller, which outlives them."""

    def __init__(self, log: EpochLog) -> None:
        self.log = log

    def after_report(
        self,
        run_context: object,  # noqa: ARG002 - the signature is Ray's
        metrics: list[dict[str, Any]],
        checkpoint: object,  # noqa: ARG002
    ) -> None:
        """Log one epoch by the first worker's figures: all workers have those of the global batch."""
        self.log(metrics[0])


def epoch_text(metrics: Metrics) -> str:
    """Return an epoch's mean loss, term by term, and its score, as a line of the log."""
    steps: Steps = metrics["steps"]
    means = {name: sum(terms[name] for terms in steps) / len(steps) for name in steps[0]}
    if SCORE in metrics:
        means[SCORE] = metrics[SCORE]
    return f"epoch {metrics['epoch']}: " + ", ".join(f"{name} {value:.4f}" for name, value in means.items())
