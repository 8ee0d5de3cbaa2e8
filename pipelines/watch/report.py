"""The report of a run of watches."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from pipelines.errors import ScenehashError, WatchError


class WatchOutcome(BaseModel):
    """What this run did for one watch."""

    model_config = ConfigDict(frozen=True)

    name: str
    publication: int | None
    """Number of the publication that it looked at; null if it failed before that"""
    compared: int
    """Chips that were compared: those in files that are new since the last run"""
    hits: int
    """New hits"""
    files: list[str]
    """URIs of the files of hits that this run wrote"""
    notes: list[str]
    """What couldn't be read, and what was done instead"""
    error: str | None
    """Why it failed, and what to do; null if it didn't fail"""


class WatchReport(BaseModel):
    """What this run did for each watch."""

    model_config = ConfigDict(frozen=True)

    watches: list[WatchOutcome]


@dataclass
class Tally:
    """The figures of one watch, collected during the run."""

    publication: int | None = None
    compared: int = 0
    hits: int = 0
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: ScenehashError | None = None

    def outcome(self, name: str) -> WatchOutcome:
        """Return the figures for the report."""
        error = None if self.error is None else str(self.error)
        return WatchOutcome(**(vars(self) | {"name": name, "error": error}))


@contextmanager
def collect_errors(*tallies: Tally) -> Iterator[None]:
    """Record an error in the report of these watches instead of raising it."""
    try:
        yield
    except ScenehashError as error:
        for tally in tallies:
            tally.error = error


def report_of(tallies: dict[str, Tally]) -> WatchReport:
    """Return the report. Raises WatchError, which carries the report, if watches have failed."""
    report = WatchReport(watches=[tally.outcome(name) for name, tally in tallies.items()])
    errors = {name: tally.error for name, tally in tallies.items() if tally.error}
    if errors:
        reasons = "; ".join(f"{name}: {error}" for name, error in errors.items())
        failure = WatchError(f"{len(errors)} of {len(tallies)} watches failed: {reasons}", report)
        # 2 if all errors are the user's, else 1
        failure.exit_code = min(error.exit_code for error in errors.values())
        raise failure
    return report
