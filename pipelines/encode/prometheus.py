"""A night's Prometheus metrics, exported by Ray. docs/operations/metrics.md lists them.

Only counters and histograms: their last values stay after the process has ended, a gauge would be gone
in seconds. How a night ended is in its record (`pipelines.table.night_record`), which the service exports.
"""

from collections import Counter

from ray.util import metrics

from pipelines.encode.shards import UnitResult

_UNIT_SECONDS = [10.0, 30, 60, 120, 300, 600, 1200, 3600]


class NightMetrics:
    """The counters of one night. Needs a running Ray."""

    def __init__(self, model_id: str) -> None:
        self._model = {"model_id": model_id}
        self._objects = metrics.Counter(
            "scenehash_objects",
            "Objects that a night is done with, by outcome",
            tag_keys=("model_id", "outcome"),
        )
        self._chips = metrics.Counter("scenehash_chips", "Chips encoded", tag_keys=("model_id",))
        self._bytes = metrics.Counter("scenehash_bytes_read", "Bytes of imagery read", tag_keys=("model_id",))
        self._unit = metrics.Histogram(
            "scenehash_unit_seconds", "Seconds a unit took", boundaries=_UNIT_SECONDS, tag_keys=("model_id",)
        )

    def unit_done(self, objects: int, result: UnitResult, seconds: float) -> None:
        """Count a unit. The outcome of an object is ``encoded``, ``failed`` or a RejectReason."""
        outcomes = Counter(result.rejects["reason"].to_pylist()) + Counter(failed=len(result.failed))
        outcomes["encoded"] = objects - sum(outcomes.values())
        for outcome, count in outcomes.items():
            if count:  # Ray refuses to add 0
                self._objects.inc(count, self._model | {"outcome": outcome})
        chips = sum(shard.rows for shard in result.shards)
        if chips:
            self._chips.inc(chips, self._model)
        if result.usage.bytes_read:
            self._bytes.inc(result.usage.bytes_read, self._model)
        self._unit.observe(seconds, self._model)
