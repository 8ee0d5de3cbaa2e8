"""What a run of watches tells."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from pipelines.errors import ScenehashError, WatchError


class WatchOutcome(BaseModel):
    """What a watch has come to in this run."""

    model_config = ConfigDict(frozen=True)

    name: str
    publication: int | None
    """Number of the publication that it looked at; null where it didn't come so far"""
    compared: int
    """Chips that were looked at: those of the table's files that are new"""
    hits: int
    """New ones"""
    files: list[str]
    """Written now"""
    notes: list[str]
    error: str | None
    """Why it failed, and what to do"""


class WatchReport(BaseModel):
    """What all watches have come to."""

    model_config = ConfigDict(frozen=True)

    watches: list[WatchOutcome]


@dataclass
class Tally:
    """What is told of a watch."""

    publication: int | None = None
    compared: int = 0
    hits: int = 0
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: ScenehashError | None = None

    def outcome(self, name: str) -> WatchOutcome:
        """Return it as it is reported."""
        error = None if self.error is None else str(self.error)
        return WatchOutcome(**(vars(self) | {"name": name, "error": error}))


@contextmanager
def told(*tallies: Tally) -> Iterator[None]:
    """Keep an error where it is told."""
    try:
        yield
    except ScenehashError as error:
        for tally in tallies:
            tally.error = error


def report_of(tallies: dict[str, Tally]) -> WatchReport:
    """Return the report. Raises WatchError, with it, where watches have failed."""
    report = WatchReport(watches=[tally.outcome(name) for name, tally in tallies.items()])
    errors = {name: tally.error for name, tally in tallies.items() if tally.error}
    if errors:
        reasons = "; ".join(f"{name}: {error}" for name, error in errors.items())
        failure = WatchError(f"{len(errors)} of {len(tallies)} watches failed: {reasons}", report)
        failure.exit_code = min(error.exit_code for error in errors.values())  # 2 where all are the user's
        raise failure
    return report
