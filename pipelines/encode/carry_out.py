"""Carries out a night's plan: takes units from the stream, commits them, removes old rows, publishes.

Another night may commit in between. Then what is left is planned again, and of the units that are open those
go on that the new plan has too.
"""

import time
from collections.abc import Iterator

import structlog

from pipelines.encode.night import Night, plan_of
from pipelines.encode.plan import Plan
from pipelines.encode.progress import progress
from pipelines.encode.stream import WrittenUnit, objects_of
from pipelines.encode.versions import remove_versions
from pipelines.errors import ConflictError
from pipelines.gate.forward import Outcome, publish_forward
from pipelines.gate.verdict import ArchiveCounts

log = structlog.get_logger()


def bring_up_to_date(night: Night, plan: Plan) -> Outcome:
    """Carry out the plan and publish. If another run commits in between, plan again what is left.

    Raises ConflictError if that happens many times in a row, with nothing committed in between.
    """
    while True:
        try:
            version = _carry_out(night, plan)
        except ConflictError as conflict:
            if night.stream:
                night.stream.feed(())  # no unit of a plan that doesn't hold any more is begun
            try:
                night.conflicts.wait(conflict, "run again when fewer jobs change this table")
            except ConflictError:
                _drop_open(night, None)
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
    model_id, commits = night.lineage.model_id, plan.encoded.commits
    night.known_rejects = plan.num_rejected
    started = time.monotonic()
    try:
        with progress(plan.num_new) as advance:
            for encoded, is_last in _units(night, plan):
                commits += 1
                _commit(night, encoded, commits, is_last=is_last and not plan.num_old)
                advance(len(encoded.unit))
                log.info("unit done", objects=len(encoded.unit), chips=night.tally.chips)
    finally:
        night.tally.seconds += time.monotonic() - started
    if plan.num_old:
        commits += 1
        metadata = night.metadata(commits)
        removed = remove_versions(
            night.table, model_id, plan.encoded, plan.old, night.tally.failed, commits, metadata
        )
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


def _units(night: Night, plan: Plan) -> Iterator[tuple[WrittenUnit, bool]]:
    """Yield the plan's units, each when it is written, and whether it is the last one.

    First comes the one whose commit lost a race, if there is one, then those that are open already.
    """
    if not plan.num_new:
        return
    stream, lost = night.start(plan.num_new), night.uncommitted
    held = [*stream.open_units(), *([lost.unit] if lost else [])]
    without = {uri for unit in held for uri in unit["uri"].to_pylist()}
    stream.feed(plan.units(night.config.objects_per_unit, without))
    if lost:
        yield lost, stream.is_exhausted
    while not stream.is_exhausted:
        encoded = stream.take()
        yield encoded, stream.is_exhausted


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
    night.let_go()
    night.conflicts.reset()
    night.known_rejects += len(result.rejects)
    night.tally.add(result)
    night.metrics.unit_done(len(encoded.unit), result, encoded.seconds + time.monotonic() - started)


def _plan_again(night: Night) -> Plan:
    """Plan what is left. If another run has committed the objects of the unit at hand, turn around.

    Otherwise both runs would encode the same units one after the other, and the slower one each for nothing.
    """
    plan = plan_of(night)
    lost = night.uncommitted
    if lost is None or plan.has(lost.objects()):
        _drop_open(night, plan)
        return plan
    done = len(lost.unit)
    _discard_uncommitted(night)
    night.from_the_end = not night.from_the_end
    done += _drop_open(night, None)  # the other run is at work on these too
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
        night.let_go()


def _drop_open(night: Night, plan: Plan | None) -> int:
    """Drop the open units that a plan doesn't have as they are; return how many objects were done already."""
    if night.stream is None:
        return 0
    return night.stream.drop(lambda unit: plan is not None and plan.has(objects_of(unit)))


def _publish(night: Night, version: int) -> Outcome:
    return publish_forward(
        night.table,
        version,
        night.lineage.model_id,
        night.manifest.network.code,
        night.bundle_uri,
        night.lineage.run_id,
        night.config.gate,
        ArchiveCounts(night.listing.count, night.known_rejects),
    )
