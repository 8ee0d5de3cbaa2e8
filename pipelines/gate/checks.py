"""The gate's checks: figures compared with thresholds. Nothing is read here; figures alone decide."""

from dataclasses import dataclass
from typing import Literal

from pipelines.gate.config import GateConfig
from pipelines.gate.measured import Figures


@dataclass(frozen=True)
class Check:
    """One threshold. It is skipped if the figure is missing, or if one of ``needs`` isn't reached."""

    figure: str
    side: Literal["at most", "at least"]
    threshold: float
    needs: dict[str, int]
    """Least values of other figures. With fewer objects or chips a figure may be off by chance."""
    meaning: str = ""
    """What a failure means, in plain words."""

    def failure(self, figures: Figures) -> str | None:
        """Return what is wrong and by how much, or None if the figure passes."""
        value = figures.get(self.figure)
        if value is None or any(figures.get(name, 0) < least for name, least in self.needs.items()):
            return None
        beyond = value - self.threshold if self.side == "at most" else self.threshold - value
        if beyond <= 0:
            return None
        message = f"{self.figure} is {value:.4g}, must be {self.side} {self.threshold:.4g}"
        return f"{message}: {self.meaning}" if self.meaning else message


def checks(config: GateConfig) -> tuple[Check, ...]:
    """Return all checks, in the order in which failures are reported.

    A version has figures either of a code of one part or of a kind and a look part. Checks of the other
    figures are skipped.
    """
    objects = config.min_objects
    change = config.max_chips_per_object_change
    return (
        Check("chips", "at least", 1, {}),
        Check("reject_share", "at most", config.max_reject_share, {"archive_objects": objects}),
        Check("new_reject_share", "at most", config.max_new_reject_share, {"new_seen": objects}),
        Check("chips_per_object_change", "at most", change, {"objects": objects, "last_objects": objects}),
        Check("chips_per_object_change", "at least", -change, {"objects": objects, "last_objects": objects}),
        *_checks_of_bits(config, "", "the bits of the codes"),
        *_checks_of_bits(config, "kind_", "the kind bits"),
        *_checks_of_bits(config, "look_", "the look bits"),
        Check("canaries", "at least", config.canary_k + 1, {}),
        Check("canary_precision", "at least", config.min_canary_precision, {"canaries": config.canary_k + 1}),
    )


def _checks_of_bits(config: GateConfig, prefix: str, bits: str) -> tuple[Check, ...]:
    """Return the checks of a part's health. Its figures' names begin with ``prefix``; ``bits`` names it."""
    objects, chips = config.min_objects, config.min_chips
    health = {"objects": objects, "chips": chips}
    last = {"last_objects": objects, "last_chips": chips}
    return (
        Check(
            f"{prefix}stuck_bits",
            "at most",
            config.max_stuck_bits,
            health,
            f"{bits} have collapsed, so many of them are the same in nearly all chips",
        ),
        Check(
            f"{prefix}bit_entropy",
            "at least",
            config.min_bit_entropy,
            health,
            f"{bits} have collapsed, most chips have most of them alike",
        ),
        Check(
            f"{prefix}distinct_ratio",
            "at least",
            config.min_distinct_ratio,
            health,
            f"{bits} have collapsed, nearly all chips have one of a few codes",
        ),
        Check(
            f"{prefix}bit_drift",
            "at most",
            config.max_bit_drift,
            health | last,
            f"{bits} have drifted since the last published version",
        ),
        Check(
            f"{prefix}new_bit_drift",
            "at most",
            config.max_new_bit_drift,
            last | {"new_objects": objects, "new_chips": chips},
            f"{bits} of the new chips have drifted since the last published version",
        ),
    )


def failed_checks(figures: Figures, config: GateConfig) -> tuple[str, ...]:
    """Return a line for each check that fails: which, and by how much."""
    failures = (check.failure(figures) for check in checks(config))
    return tuple(failure for failure in failures if failure)
