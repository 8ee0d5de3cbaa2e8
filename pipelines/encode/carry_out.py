"""Carries out a night's plan: takes units from the stream, commits them, removes old rows, publishes.

Another night may commit in between. Then what is left is planned again, and the stream goes on: each of its
units is committed if the new plan has it too.
"""

import math
import time

import structlog

from pipelines.encode.night import Night, plan_of
from pipelines.encode.plan import Plan
from pipelines.encode.progress import progress
from pipelines.encode.stream import WrittenUnit, objects_of
from pipelines.encode.versions import OldVersions, remove_versions
from pipelines.errors import ConflictError
from pipelines.gate.forward import Candidate, PublishResult, publish_forward
from pipelines.gate.verdict import ArchiveCounts

log = structlog.get_logger()


class _PlanAgain(Exception):  # noqa: N818 - it is no error
    """The stream has nothing more of the plan, or the unit at hand isn't in the plan."""


def bring_up_to_date(night: Night, plan: Plan) -> PublishResult:
    """Carry out the plan and publish. If another run commits in between, plan again what is left.

    Raises ConflictError if that happens many times in a row, with nothing committed in between.
    """
    while True:
        try:
            version = _carry_out(night, plan)
        except _PlanAgain:
            plan = _plan_again(night)
        except ConflictError as conflict:
            try:
                night.conflicts.wait(conflict, "run again when fewer jobs change this table")
            except ConflictError:
                night.end_stream(discard=True)
                _discard_uncommitted(night)
                raise
            plan = _plan_again(night)
        else:
            return _publish(night, version)


def _carry_out(night: Night, plan: Plan) -> int:
    """Encode what is new, then remove old rows; return the table's version after that.

    In that version a changed object has only the chips of its present version. Raises ConflictError if
    another run has committed in the meantime, as the version's content is unknown then.
    """
    model_id = night.lineage.model_id
    night.known_rejects = plan.num_rejected
    started = time.monotonic()
    try:
        commits = _encode(night, plan)
    finally:
        night.tally.seconds += time.monotonic() - started
    if plan.num_old:
        commits += 1
        old = OldVersions(plan.encoded, plan.old, night.tally.failed)
        removed = remove_versions(night.table, model_id, old, commits, night.metadata(commits))
        night.tally.removed += removed
        commits -= not removed
    if not night.table.is_whole(model_id):
        # no commit has marked the night's end: no old rows were there, or an earlier night broke off
        commits += 1
        night.table.commit_unit([], model_id, commits, night.metadata(commits))
    version = night.table.open().version()
    if night.table.commits(model_id, version) != commits:
        raise ConflictError(f"another run has committed to {night.table.uri} since this one planned its work")
    return version


def _encode(night: Night, plan: Plan) -> int:
    """Commit units until nothing of the plan is left; return the number of the last commit."""
    commits, left, done = plan.encoded.commits, plan.num_new, 0
    with progress(left) as advance:
        while left:
            encoded = night.uncommitted or _take(night, plan)
            commits, done = commits + 1, done + 1
            left -= _shared(night, plan, encoded)
            _commit(night, encoded, commits, is_last=not left and not plan.num_old)
            advance(len(encoded.unit))
            units = done + math.ceil(left / night.config.objects_per_unit)
            log.info("unit done", unit=done, units=units, chips=night.tally.chips)
    night.tally.encoded_for_nothing += night.end_stream(discard=True)
    return commits


def _take(night: Night, plan: Plan) -> WrittenUnit:
    """Return the next unit of the stream, which the first call begins. Raises _PlanAgain."""
    stream = night.stream or night.start(plan)
    written = stream.take()
    if written is None:
        night.end_stream()
        raise _PlanAgain
    if night.streamed is not plan and not plan.has(written.objects()):
        night.uncommitted = written
        raise _PlanAgain
    return written


def _shared(night: Night, plan: Plan, encoded: WrittenUnit) -> int:
    """Return how many of a unit's objects are in the plan."""
    return len(encoded.unit) if night.streamed is plan else plan.count(objects_of(encoded.unit))


def _commit(night: Night, encoded: WrittenUnit, number: int, *, is_last: bool) -> None:
    """Commit a written unit: its rejects first, so that no unit counts as done without them.

    Raises ConflictError, and keeps the unit for the next plan.
    """
    result, started = encoded.result, time.monotonic()
    night.uncommitted = encoded
    night.table.commit_rejects(result.rejects)
    night.table.commit_unit(
        result.shards, night.lineage.model_id, number, night.metadata(number), is_last=is_last
    )
    night.uncommitted = None
    night.conflicts.reset()
    night.known_rejects += len(result.rejects)
    night.tally.add(result)
    if night.metrics:
        night.metrics.unit_done(len(encoded.unit), result, encoded.seconds + time.monotonic() - started)


def _plan_again(night: Night) -> Plan:
    """Plan what is left. If another run has committed the objects of the unit at hand, turn around.

    Otherwise both runs would encode the same units one after the other, and the slower one each for nothing.
    """
    plan = plan_of(night)
    lost = night.uncommitted
    if lost is None or plan.has(lost.objects()):
        return plan
    done = len(lost.unit)
    _discard_uncommitted(night)
    night.from_the_end = not night.from_the_end
    done += night.end_stream(discard=True)  # the other run is at work on these too
    night.tally.encoded_for_nothing += done
    log.warning(
        "another run has committed objects that this one has just encoded; going on from the other end",
        objects=done,
        left=plan.num_new,
    )
    return plan_of(night) if plan.num_new else plan


def _discard_uncommitted(night: Night) -> None:
    if night.uncommitted is not None:
        night.discard(night.uncommitted.result)
        night.uncommitted = None


def _publish(night: Night, version: int) -> PublishResult:
    candidate = Candidate(version, night.lineage.model_id, night.bundle_uri, night.lineage.run_id)
    counts = ArchiveCounts(night.listing.count, night.known_rejects)
    return publish_forward(night.table, candidate, night.manifest.network.code, night.config.gate, counts)
