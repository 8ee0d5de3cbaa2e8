"""Gauges that stay. Ray exports a gauge once each time that it is set, and forgets it 20 s later."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from ray.util import metrics

_REFRESH_SECONDS = 2.0


class Shown(Protocol):
    """What Ray is told of now and then."""

    def refresh(self) -> None:
        """Tell Ray."""


class LastingGauge:
    """Shows its values until it is given others, from `keep_shown`'s next turn on."""

    def __init__(self, name: str, description: str, tag_key: str | None = None) -> None:
        """Without a ``tag_key`` it has one value."""
        self._tag_key = tag_key
        self._gauge = metrics.Gauge(name, description, (tag_key,) if tag_key else ())
        self._values: Mapping[str, float] = {}

    def set(self, value: float) -> None:
        """Show one value, of a gauge without a tag."""
        self.set_all({"": value})

    def set_all(self, values: Mapping[str, float]) -> None:
        """Show these values, tag -> value, and no others; those that were shown before fade within 20 s."""
        self._values = dict(values)  # a new one: another thread reads the old meanwhile

    def refresh(self) -> None:
        """Tell Ray once more."""
        for tag, value in self._values.items():
            self._gauge.set(value, {self._tag_key: tag} if self._tag_key else {})


def keep_shown(metrics: Sequence[Shown]) -> None:
    """Refresh metrics for as long as the process lives, in a thread that waits for nothing else."""

    def refresh() -> None:
        while True:
            for each in metrics:
                each.refresh()
            time.sleep(_REFRESH_SECONDS)

    threading.Thread(target=refresh, name="gauges", daemon=True).start()
