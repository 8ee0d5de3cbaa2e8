"""The gate's checks: figures compared with thresholds. Nothing is read here; figures alone decide."""

from dataclasses import dataclass
from typing import Literal

from pipelines.gate.config import GateConfig
from pipelines.gate.margin import CONFIDENCE, lower_bound
from pipelines.gate.measured import Figures

_COUNTED = {
    "objects": "objects",
    "chips": "chips",
    "last_objects": "objects in the last published version",
    "last_chips": "chips in the last published version",
    "new_objects": "new objects",
    "new_chips": "new chips",
}
"""What the figures count that a check needs."""

_NOT_COUNTED = {
    "last_objects": "no version of this model was published before",
    "archive_objects": "only a night counts rejects",
    "new_seen": "nothing is new since an earlier version of this model",
}
"""Why such a figure is missing."""


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
    share_of: str | None = None
    """The figure is a share of so many objects: it fails if its lower bound is beyond the threshold."""
    concerns: str | None = None
    """The check is only for versions that have this figure."""

    def failure(self, figures: Figures) -> str | None:
        """Return what is wrong and by how much, or None if the figure passes."""
        value = figures.get(self.figure)
        if value is None or any(figures.get(name, 0) < least for name, least in self.needs.items()):
            return None
        judged, counted = value, ""
        if self.share_of and value > self.threshold:
            of = round(figures[self.share_of])
            hits = round(value * of)
            judged = lower_bound(hits, of)
            counted = f" ({hits} of {of}; with {CONFIDENCE:.0%} confidence {judged:.4g} or more)"
        beyond = judged - self.threshold if self.side == "at most" else self.threshold - judged
        if beyond <= 0:
            return None
        message = f"{self.figure} is {value:.4g}{counted}, must be {self.side} {self.threshold:.4g}"
        return f"{message}: {self.meaning}" if self.meaning else message

    def why_skipped(self, figures: Figures) -> str | None:
        """Return the first reason why the check can't be made of these figures; None if there is none.

        There is none either if the check isn't for this version.
        """
        if self.concerns and self.concerns not in figures:
            return None
        for name in self.needs:
            if name not in figures and name in _NOT_COUNTED:
                return _NOT_COUNTED[name]
        for name, least in self.needs.items():
            if figures.get(name, 0) < least:
                return f"{figures.get(name, 0):.0f} {_COUNTED.get(name, name)}, {least} needed"
        return None


def checks(config: GateConfig) -> tuple[Check, ...]:
    """Return all checks, in the order in which failures are reported.

    A version has figures either of a code of one part or of a kind and a look part. Checks of the other
    figures are skipped.
    """
    objects = config.min_objects
    change = config.max_chips_per_object_change
    return (
        Check("chips", "at least", 1, {}),
        *_checks_of_rejects(config),
        Check("chips_per_object_change", "at most", change, {"objects": objects, "last_objects": objects}),
        Check("chips_per_object_change", "at least", -change, {"objects": objects, "last_objects": objects}),
        *_checks_of_bits(config, "", "the bits of the codes"),
        *_checks_of_bits(config, "kind_", "the kind bits"),
        *_checks_of_bits(config, "look_", "the look bits"),
        Check("canaries", "at least", config.canary_k + 1, {}),
        Check(
            "canary_precision",
            "at least",
            config.min_canary_precision,
            {"canaries": config.canary_k + 1},
            concerns="canaries",
        ),
    )


def _checks_of_rejects(config: GateConfig) -> tuple[Check, ...]:
    """Return the checks of shares, which have an error margin and so need no least number of objects."""
    return (
        Check(
            "reject_share",
            "at most",
            config.max_reject_share,
            {"archive_objects": 1},
            share_of="archive_objects",
        ),
        Check(
            "new_reject_share",
            "at most",
            config.max_new_reject_share,
            {"archive_objects": 1, "new_seen": 1},
            share_of="new_seen",
        ),
    )


def _checks_of_bits(config: GateConfig, prefix: str, bits: str) -> tuple[Check, ...]:
    """Return the checks of a part's health. Its figures' names begin with ``prefix``; ``bits`` names it."""
    objects, chips = config.min_objects, config.min_chips
    health = {"objects": objects, "chips": chips}
    of_part = f"{prefix}stuck_bits"
    last = {"last_objects": objects, "last_chips": chips}
    return (
        Check(
            f"{prefix}stuck_bits",
            "at most",
            config.max_stuck_bits,
            health,
            f"{bits} have collapsed, so many of them are the same in nearly all chips",
            concerns=of_part,
        ),
        Check(
            f"{prefix}bit_entropy",
            "at least",
            config.min_bit_entropy,
            health,
            f"{bits} have collapsed, most chips have most of them alike",
            concerns=of_part,
        ),
        Check(
            f"{prefix}distinct_ratio",
            "at least",
            config.min_distinct_ratio,
            health,
            f"{bits} have collapsed, nearly all chips have one of a few codes",
            concerns=of_part,
        ),
        Check(
            f"{prefix}bit_drift",
            "at most",
            config.max_bit_drift,
            health | last,
            f"{bits} have drifted since the last published version",
            concerns=of_part,
        ),
        Check(
            f"{prefix}new_bit_drift",
            "at most",
            config.max_new_bit_drift,
            last | {"new_objects": objects, "new_chips": chips},
            f"{bits} of the new chips have drifted since the last published version",
            concerns=of_part,
        ),
    )


def failed_checks(figures: Figures, config: GateConfig) -> tuple[str, ...]:
    """Return a line for each check that fails: which, and by how much."""
    failures = (check.failure(figures) for check in checks(config))
    return tuple(failure for failure in failures if failure)


def skipped_checks(figures: Figures, config: GateConfig) -> tuple[str, ...]:
    """Return a line for each reason why checks can't be made of these figures: which checks, and why."""
    names: dict[str, dict[str, None]] = {}
    for check in checks(config):
        reason = check.why_skipped(figures)
        if reason:
            names.setdefault(reason, {})[check.figure] = None
    return tuple(f"{', '.join(figures_of)}: {reason}" for reason, figures_of in names.items())
