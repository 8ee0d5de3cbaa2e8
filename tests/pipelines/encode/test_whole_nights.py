"""Which versions of a table are a whole night's, and which stand between its commits."""

from pathlib import Path

import pytest

from pipelines.encode.run import run_encode
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import read_pointer
from tests.pipelines.encode.faults import Killed, Operations, killed_after


def whole_versions(archive, after=0):
    """Return the versions after one that are a whole night's, and how many versions there are."""
    table = CodeTable(archive.config.table, archive.store)
    newest = table.open().version()
    return [
        version for version in range(after + 1, newest + 1) if table.is_whole(archive.model_id, version)
    ], newest


def test_only_the_last_version_of_a_night_is_whole(archive, monkeypatch):
    run_encode(archive.config)
    assert whole_versions(archive) == ([3], 3), "three units"
    archive.second_day()
    with monkeypatch.context() as patch:
        operations = Operations(patch)
        operations.let(killed_after, 5)  # tables, shard, rejects, codes
        with pytest.raises(Killed):
            run_encode(archive.config)
    assert whole_versions(archive, 3) == ([], 4)
    report = run_encode(archive.config)
    whole, newest = whole_versions(archive, 3)
    assert whole == [newest] == [report.table_version]
    assert newest > 5, "units, and one that removes old rows"


def test_a_night_whose_old_rows_stay_is_whole(archive):
    """A changed object can't be read: its old rows stay, and nothing is removed."""
    run_encode(archive.config)
    path = archive.config.source + "/001.tif"
    archive.store.remove(path)
    Path(path).symlink_to("/proc/self/mem")
    report = run_encode(archive.config)
    assert (report.failed, report.removed) == ([path], 0)
    assert whole_versions(archive, 3)[0] == [whole_versions(archive)[1]]


def test_what_a_killed_night_began_and_nobody_can_end(archive, monkeypatch):
    """What was left to encode has gone from the archive: the next night has nothing to do but to say so."""
    with monkeypatch.context() as patch:
        operations = Operations(patch)
        operations.let(killed_after, 4)  # two tables, shard, codes
        with pytest.raises(Killed):
            run_encode(archive.config)
    assert whole_versions(archive) == ([], 1)
    for name in ("003", "004", "005", "text", "zero"):
        archive.store.remove(f"{archive.config.source}/{name}.tif")
    report = run_encode(archive.config)
    assert (report.new, report.table_version) == (0, 2)
    assert whole_versions(archive) == ([2], 2)
    assert read_pointer(archive.config.table, archive.store).table_version == 2
    run_encode(archive.config)
    assert whole_versions(archive) == ([2], 2)
