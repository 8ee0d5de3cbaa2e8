"""Whatever happens to a night, and whenever: in the end the tables are those of an undisturbed one.

Here units are encoded in this process: a night takes a fraction of a second, and each of its operations
can fail; `test_faults_on_ray.py` breaks the real thing.
"""

import random
from contextlib import nullcontext, suppress
from functools import partial

import pytest

from pipelines.encode.run import run_encode
from pipelines.errors import ScenehashError
from pipelines.maintain.config import MaintainConfig
from pipelines.maintain.run import run_maintain
from tests.pipelines.encode.changing import Archive, encode_in_process
from tests.pipelines.encode.faults import (
    Killed,
    Operations,
    answer_lost,
    carry_out,
    disk_full,
    killed_after,
    killed_before,
)

MOST_OPERATIONS = 14  # of a night, that change a store


@pytest.fixture
def local_archive(store, tmp_path, write_model, geotiff):
    return Archive.below(str(tmp_path), store, write_model, geotiff)


@pytest.fixture
def s3_archive(store, root, write_model, geotiff):
    return Archive.below(root, store, write_model, geotiff)


@pytest.fixture
def operations(monkeypatch):
    """Nights that encode in this process, without Ray; what they change, operation by operation."""
    encode_in_process(monkeypatch)
    return Operations(monkeypatch)


def nights(archive, operations, disturbed) -> None:
    """Run each day's night undisturbed on one table, and disturbed on others; compare what then stands.

    ``disturbed`` is table -> function of a night's config and of how many operations it has, which runs it.
    """
    states = [{}]
    for change in (Archive.first_day, Archive.second_day):
        change(archive)
        operations.let(carry_out, 0)
        run_encode(archive.night("undisturbed"))
        count = operations.count
        assert 8 <= count <= MOST_OPERATIONS, "each of them must be disturbed"
        states.append(archive.state("undisturbed"))
        for table, run in disturbed.items():
            run(archive.night(table), count)
            operations.let(carry_out, 0)
            published = archive.state(table).get("publications")
            assert published in [state.get("publications") for state in states[-2:]], table
            archive.check_objects_are_whole(table)
            archive.spoil_orphans(table)
            run_encode(archive.night(table))
            assert archive.state(table) == states[-1], table
    assert [len(rows) for rows in states[-1]["publications"]] == [24, 24]
    assert len(states[-1]["rejects"]) == 4


def test_any_operation_may_be_the_last_one(local_archive, operations):
    """To be killed before an operation is to be killed after the one before it. Then the disk is full."""

    def run(config, count, at):
        operations.let(killed_after, at)
        with pytest.raises(Killed) if at <= count else nullcontext():
            run_encode(config)
        operations.let(disk_full, at)
        with suppress(ScenehashError):
            run_encode(config)

    points = range(1, MOST_OPERATIONS + 1)
    nights(local_archive, operations, {f"killed after {at}": partial(run, at=at) for at in points})


def test_any_operation_may_be_the_last_one_while_several_units_are_open(local_archive, monkeypatch):
    """Their operations come in no fixed order: shards of one are written while another is committed."""
    encode_in_process(monkeypatch, open_units=3)
    operations = Operations(monkeypatch)

    def run(config, count, at):
        operations.let(killed_after, at)
        with suppress(Killed):
            run_encode(config)

    points = range(3, MOST_OPERATIONS, 2)
    nights(local_archive, operations, {f"killed after {at}": partial(run, at=at) for at in points})


@pytest.mark.parametrize(("job", "points"), [("night", (4, 6, 7, 11, 13)), ("maintenance", (4, 6, 11, 13))])
def test_another_job_in_between(local_archive, operations, job, points):
    """It runs from its beginning to its end before one of a night's operations."""

    def run(config, count, at):
        def other_job(name, operation):
            if job == "night":
                run_encode(config)
            else:
                run_maintain(MaintainConfig(table=config.table, store=config.store))
            return operation()

        operations.let(other_job, at)
        run_encode(config)

    nights(local_archive, operations, {f"{job} before {at}": partial(run, at=at) for at in points})


def test_one_thing_after_the_other(s3_archive, operations):
    """Nights in a bucket that are killed, lose answers and meet others, several times in a row."""
    draw = random.Random(0)

    def run(config, count):
        def other_night(name, operation):
            run_encode(config)
            return operation()

        for _ in range(2):
            fault = draw.choice([killed_before, killed_after, answer_lost, other_night])
            operations.let(fault, draw.randint(1, count))
            with suppress(Killed):
                run_encode(config)

    nights(s3_archive, operations, dict.fromkeys(("one", "two"), run))
