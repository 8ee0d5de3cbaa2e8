"""The report of a night, and the same figures in MLflow."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from pydantic import BaseModel, ConfigDict

from pipelines.encode.config import EncodeConfig
from pipelines.encode.plan import Plan
from pipelines.encode.shards import Lineage, UnitResult
from pipelines.encode.usage import Usage
from pipelines.errors import ConfigError, TrackingError
from pipelines.gate.forward import Outcome
from pipelines.registry.tracking import record_run, resolved
from pipelines.sources.listing import Listing

log = structlog.get_logger()


@dataclass
class Tally:
    """What a night has done so far."""

    chips: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    removed: int = 0
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0
    """Spent in units, from reading to the commit."""

    def add(self, result: UnitResult, seconds: float) -> None:
        """Count a unit that is committed."""
        self.chips += sum(shard.rows for shard in result.shards)
        self.rejects.update(result.rejects["reason"].to_pylist())
        self.failed += result.failed
        self.usage += result.usage
        self.seconds += seconds


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
    removed: int
    """Rows that this run removed: of older versions of objects, and of pruned ones."""
    rejects: dict[str, int]
    """How many objects this run rejected, by reason."""
    failed: list[str]
    """URIs of objects that couldn't be read, or whose etag couldn't; the next run tries them again."""
    passed_over: dict[str, int]
    """How many things of the source were passed over, by reason."""
    passed_over_examples: list[str]
    """The first few of each reason: name, and what is wrong."""
    bytes_read: int
    """Size of the objects that this run read."""
    images_per_second: float
    """Chips encoded by this run, divided by the time that its units took."""
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
    seconds: float

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
    outcome: Outcome | None,
    seconds: float,
) -> EncodeReport:
    """Return a night's report. ``plan`` is the night's first plan; ``outcome`` is None in a dry run."""
    published, verdict = (outcome.published, outcome.verdict) if outcome else (None, None)
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
        removed=tally.removed,
        rejects=dict(tally.rejects),
        failed=tally.failed,
        passed_over=dict(listing.passed_over.counts),
        passed_over_examples=listing.passed_over.examples,
        bytes_read=tally.usage.bytes_read,
        images_per_second=round(tally.chips / tally.seconds, 1) if tally.chips else 0,
        cpu_seconds_per_1000_chips=round(tally.usage.cpu_seconds / thousands, 3),
        gpu_seconds_per_1000_chips=round(tally.usage.gpu_seconds / thousands, 3),
        gate=verdict.measured.figures if verdict else {},
        gate_failed=verdict.failed if verdict else (),
        gate_skipped=verdict.skipped if verdict else (),
        seconds=round(seconds, 1),
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
        store = resolved(config.tracking)
        record_run(store, lineage.run_id, params, tags, figures, status, started_at)
    except (TrackingError, ConfigError) as error:
        log.error("the night isn't recorded in MLflow", reason=str(error))  # noqa: TRY400 - one line says it
        return str(error)
    return None
