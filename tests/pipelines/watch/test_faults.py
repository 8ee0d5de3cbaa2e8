"""Whatever happens to a run, and whenever: each hit stands in the files once, and none is missing."""

from contextlib import suppress

import pytest

from pipelines.errors import ConflictError, ScenehashError
from tests.pipelines.encode.faults import (
    Killed,
    Operations,
    answer_lost,
    carry_out,
    disk_full,
    killed_after,
    killed_before,
)
from tests.pipelines.watch.conftest import code_at

OPERATIONS = 4  # of a run with hits: state, two files, state
FAULTS = (killed_before, killed_after, answer_lost, disk_full)
NEW = [("a-0", "1"), ("b-0", "1")]
NEXT = [("c-0", "1")]


@pytest.fixture
def operations(monkeypatch):
    return Operations(monkeypatch)


def watched(site, operations, names) -> None:
    """Watches that have two hits to report."""
    site.night_of({"old": code_at(1)})
    for name in names:
        site.add(name)
    site.night_of({"a": code_at(1), "b": code_at(2)})
    operations.let(carry_out, 0)
    site.add("undisturbed")
    assert site.run("undisturbed").watches[0].hits == 0


def test_any_operation_may_be_the_last_one(site, operations):
    names = {f"{fault.__name__}-{at}": (fault, at) for fault in FAULTS for at in range(1, OPERATIONS + 1)}
    if site.root.startswith("s3://"):
        names = {name: case for name, case in names.items() if case[0] is not disk_full}
    watched(site, operations, [*names, "counted"])
    operations.let(carry_out, 0)
    site.run("counted")
    assert operations.count == OPERATIONS
    for name, (fault, at) in names.items():
        operations.let(fault, at)
        with suppress(Killed, ScenehashError):
            site.run(name)
        assert site.all_written(name) in ([], NEW), name
    operations.let(carry_out, 0)
    site.night_of({"c": code_at(3)})  # published before the next attempt
    assert site.run().watches
    for name in names:
        assert site.all_written(name) == NEW + NEXT, name
        assert len(site.written(name)) in (1, 2), name
        assert site.run(name).watches[0].files == []


@pytest.mark.parametrize("at", range(1, OPERATIONS + 1))
def test_two_runs_at_once_report_each_hit_once(local_site, operations, at):
    """The other runs from its beginning to its end before one of the operations of the first."""
    site = local_site
    watched(site, operations, ["ships"])

    def other_run(name, operation):
        site.night_of({"c": code_at(3)})
        site.run("ships")
        return operation()

    operations.let(other_run, at)
    failure = site.run_badly("ships")
    assert failure.exit_code == ConflictError.exit_code
    assert "was changed by somebody else" in failure.report.watches[0].error
    operations.let(carry_out, 0)
    assert site.look() == []
    assert site.all_written() == NEW + NEXT


def test_a_watch_that_is_replaced_meanwhile_starts_anew(local_site, operations):
    site = local_site
    watched(site, operations, ["ships"])

    def replaced(name, operation):
        site.add("ships", max_distance=1, from_start=True, replace=True)
        return operation()

    operations.let(replaced, 1)
    site.run("ships")
    operations.let(carry_out, 0)
    assert site.look() == ["a-0", "old-0"]
