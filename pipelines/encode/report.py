"""The report of a night, and the same figures in MLflow."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from pydantic import BaseModel, ConfigDict

from pipelines.encode.chips import TOO_SMALL
from pipelines.encode.config import EncodeConfig
from pipelines.encode.plan import Plan
from pipelines.encode.shards import Lineage, UnitResult
from pipelines.encode.usage import Usage
from pipelines.errors import ConfigError, TrackingError
from pipelines.gate.forward import PublishResult
from pipelines.registry.tracking import EndedRun, record_run, resolved
from pipelines.sources.listing import Listing

_NEARLY_ALL = 0.999

log = structlog.get_logger()


@dataclass
class Tally:
    """What a night has done so far."""

    chips: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    removed: int = 0
    encoded_for_nothing: int = 0
    usage: Usage = field(default_factory=Usage)
    too_small: int = 0
    """Objects that hold no chip."""
    seconds: float = 0
    """From the first unit's start to the last one's commit, less what planning again took in between."""

    def add(self, result: UnitResult) -> None:
        """Count a unit that is committed."""
        self.chips += sum(shard.rows for shard in result.shards)
        reasons = Counter(result.rejects["reason"].to_pylist())
        self.rejects.update(reasons)
        self.too_small += reasons[TOO_SMALL]
        self.failed += result.failed
        self.usage += result.usage


class EncodeReport(BaseModel):
    """What an encoding run did."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    model_id: str
    table: str
    table_version: int | None
    """The version that is published now; None if nothing is."""
    objects: int
    """Objects in the archive."""
    new: int
    """Objects that were to be encoded: not encoded or rejected before."""
    changed: int
    """New objects that are encoded already: an older version, or with another chip spec."""
    chips: int
    """Chips encoded by this run."""
    encoded_for_nothing: int
    """Objects that this run encoded, and another one that ran at the same time committed first."""
    removed: int
    """Rows that this run removed: of older versions of objects, and of pruned ones."""
    vanished: int | None
    """Encoded objects that the source doesn't list any more; with ``prune`` their rows are removed, without
    they stay. None if the source was asked for a part only, or something passed over may be one of them."""
    vanished_examples: tuple[str, ...]
    """The first few of them, by name."""
    rejects: dict[str, int]
    """How many objects this run rejected, by reason."""
    failed: list[str]
    """URIs of objects that couldn't be read, or whose etag couldn't; the next run tries them again."""
    passed_over: dict[str, int]
    """How many things of the source were passed over, by reason."""
    passed_over_examples: list[str]
    """The first few of each reason: name, and what is wrong."""
    objects_opened: int
    """Objects that the next two fields are about: those with chips, and those too small for one. A dry run
    opens a sample of the new objects."""
    too_small: int
    """Those of them that hold no chip."""
    covered_share: float | None
    """Share of their pixels that lie in a window of the grid, 0..1; None if none was opened."""
    bytes_read: int
    """Size of the objects that this run read."""
    images_per_second: float
    """Chips encoded by this run, divided by the seconds that it encoded and committed units."""
    cpu_seconds_per_1000_chips: float
    gpu_seconds_per_1000_chips: float
    gate: dict[str, float]
    """The gate's figures; empty if there was nothing new to publish."""
    gate_failed: tuple[str, ...]
    """The checks that failed, and by how much."""
    gate_skipped: tuple[str, ...]
    """The checks that the gate couldn't make, and why."""
    tracking_failed: str | None = None
    """Why MLflow wasn't available for the bundle or for this night's run; the night was done without it."""
    seconds: float = 0
    """From the job's start to its report."""

    def numbers(self) -> dict[str, float]:
        """Return the figures by their names in MLflow, such as ``rejects/<reason>``."""
        fields = self.model_dump(exclude={"rejects", "failed", "passed_over", "gate", "gate_failed"})
        return (
            {name: value for name, value in fields.items() if isinstance(value, int | float)}
            | {"rejected": sum(self.rejects.values()), "failed": len(self.failed)}
            | {"passed_over": sum(self.passed_over.values())}
            | {f"passed_over/{reason}": count for reason, count in self.passed_over.items()}
            | {f"rejects/{reason}": count for reason, count in self.rejects.items()}
            | {f"gate/{name}": value for name, value in self.gate.items()}
        )


def make_report(
    lineage: Lineage,
    table_uri: str,
    listing: Listing,
    plan: Plan,
    tally: Tally,
    result: PublishResult | None,
) -> EncodeReport:
    """Return a night's report. ``plan`` is the night's first plan; ``result`` is None in a dry run."""
    published, verdict = (result.published, result.verdict) if result else (None, None)
    thousands = max(tally.chips, 1) / 1000
    return EncodeReport(
        run_id=lineage.run_id,
        model_id=lineage.model_id,
        table=table_uri,
        table_version=published.table_version if published else None,
        objects=listing.count,
        new=plan.num_new,
        changed=plan.num_changed,
        chips=tally.chips,
        encoded_for_nothing=tally.encoded_for_nothing,
        removed=tally.removed,
        vanished=plan.num_vanished,
        vanished_examples=plan.vanished,
        rejects=dict(tally.rejects),
        failed=tally.failed,
        passed_over=dict(listing.passed_over.counts),
        passed_over_examples=listing.passed_over.examples,
        objects_opened=tally.usage.objects_opened,
        too_small=tally.too_small,
        covered_share=covered_share(tally.usage),
        bytes_read=tally.usage.bytes_read,
        images_per_second=round(tally.chips / tally.seconds, 1) if tally.chips else 0,
        cpu_seconds_per_1000_chips=round(tally.usage.cpu_seconds / thousands, 3),
        gpu_seconds_per_1000_chips=round(tally.usage.gpu_seconds / thousands, 3),
        gate=verdict.measured.figures if verdict else {},
        gate_failed=verdict.failed if verdict else (),
        gate_skipped=verdict.skipped if verdict else (),
    )


def covered_share(usage: Usage) -> float | None:
    """Return the share of the opened pixels that lie in a window of the grid, 0..1."""
    return round(usage.pixels_covered / usage.pixels_opened, 4) if usage.pixels_opened else None


def warn_of_uncovered(tally: Tally, edges: str) -> None:
    """Log what share of the pixels is in no chip, and how many objects hold none; nothing if all are."""
    share = covered_share(tally.usage)
    if share is None or (share > _NEARLY_ALL and not tally.too_small):
        return
    log.warning(
        "not all pixels are in a chip",
        covered_share=share,
        too_small=tally.too_small,
        of_objects=tally.usage.objects_opened,
        advice="edges=shift covers all of an object that holds a chip; a smaller chip_size fits small ones"
        if edges != "shift"
        else "a smaller chip_size fits small objects; a stride above it leaves gaps",
    )


def tell_mlflow(
    config: EncodeConfig, lineage: Lineage, figures: Mapping[str, float], status: str, started_at: datetime
) -> str | None:
    """Record the night as a run in MLflow, if one is configured; return why that failed, None if it didn't.

    Nothing else depends on it, so it is done after the night has ended. ``status`` is one of MLflow's own.
    """
    if not (config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")):
        return None
    params = config.model_dump(include={"source", "table", "bundle", "collection", "chip_size"})
    tags = {"run_id": lineage.run_id, "model_id": lineage.model_id}
    try:
        run = EndedRun(lineage.run_id, params, tags, figures, status, started_at)
        record_run(resolved(config.tracking), run)
    except (TrackingError, ConfigError) as error:
        log.error("the night isn't recorded in MLflow", reason=str(error))  # noqa: TRY400 - one line says it
        return str(error)
    return None
