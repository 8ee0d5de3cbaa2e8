"""What a night says of itself: the report, and the same figures in MLflow."""

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
    """In units, from reading to the commit."""

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
    """The version that is published now; None where nothing is."""
    objects: int
    """Objects of the archive."""
    new: int
    """Of them, not encoded or rejected before."""
    changed: int
    """Of the new ones, those of which an older version was encoded before."""
    chips: int
    """Chips encoded by this run."""
    removed: int
    """Rows of older versions of objects, removed by this run."""
    rejects: dict[str, int]
    """Objects rejected by this run, by reason."""
    failed: list[str]
    """Objects that couldn't be read, or asked for, this time; the next run tries them again."""
    passed_over: dict[str, int]
    """What the source has, or names, and isn't listed, by reason."""
    passed_over_examples: list[str]
    """The first of each reason: name, and what is wrong."""
    bytes_read: int
    """Of the objects read by this run."""
    images_per_second: float
    """Chips encoded, over the time from the first unit's start to the last one's commit."""
    cpu_seconds_per_1000_chips: float
    gpu_seconds_per_1000_chips: float
    gate: dict[str, float]
    """The gate's figures; empty where there was nothing new to publish."""
    gate_failed: tuple[str, ...]
    """The checks that held the version back, and by how much."""
    tracking_failed: str | None = None
    """Why MLflow couldn't be told of this night, or asked for its bundle; the night was done without it."""
    seconds: float

    def numbers(self) -> dict[str, float]:
        """Return its figures by name, as MLflow takes them, such as ``rejects/<reason>``."""
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
    """Put a night's report together; ``plan`` is its first one. Without an outcome it was a dry run."""
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
        seconds=round(seconds, 1),
    )


def tell_mlflow(
    config: EncodeConfig, lineage: Lineage, figures: Mapping[str, float], status: str, started_at: datetime
) -> str | None:
    """Record the night as an MLflow run where a store is named; return why that failed, or None.

    A night is recorded once it has ended, and nothing of it depends on that. ``status``: MLflow's own word.
    """
    if not (config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")):
        return None
    params = config.model_dump(include={"source", "table", "bundle", "collection", "chip_size"})
    tags = {"run_id": lineage.run_id, "model_id": lineage.model_id}
    try:
        store = resolved(config.tracking)
        record_run(store, lineage.run_id, params, tags, figures, status, started_at)
    except (TrackingError, ConfigError) as error:
        log.error("MLflow doesn't know of this night", reason=str(error))  # noqa: TRY400 - one line says it
        return str(error)
    return None
