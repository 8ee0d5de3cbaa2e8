"""Compaction: the same rows in fewer shards, in spatial order, whatever happens beside it."""

import itertools

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import ConflictError
from pipelines.maintain import compact as module
from pipelines.maintain.compact import compact, small_files
from pipelines.table import shard_files as shards
from pipelines.table.code_table import CodeTable, files_of
from pipelines.table.sorting import spatial_key


@pytest.fixture
def little(monkeypatch):
    """Shards of 20 rows in groups of 7, and a few files in a commit: sizes that a test reaches."""
    for where in (shards, module):
        monkeypatch.setattr(where, "ROWS_PER_SHARD", 20)
    monkeypatch.setattr(shards, "ROWS_PER_GROUP", 7)
    monkeypatch.setattr(module, "_SMALL", 10)
    monkeypatch.setattr(module, "_FILES_A_COMMIT", 4)


def parquet_files(night):
    filesystem, root = night.table.store.arrow_filesystem(night.table.uri)
    paths = [uri.split("/codes/", 1)[1] for uri in night.table.open().file_uris()]
    return [pq.ParquetFile(f"{root}/{path}", filesystem=filesystem) for path in paths]


def test_rows_stay_and_shards_become_few_and_spatially_sorted(night, little):
    version = 0
    for seed in range(9):
        version = night.commit(
            night.random_codes(2, 3, seed) | {f"nowhere{seed}": np.zeros((1, 4), np.uint8)}
        )
    rows = night.rows()
    assert compact(night.table) >= 9
    assert night.rows() == rows == night.rows(version)
    files = parquet_files(night)
    counts = sorted(file.metadata.num_rows for file in files)
    assert sum(counts) == 63
    assert sum(count < 10 for count in counts) <= 1
    for file in files:
        key_N = spatial_key(file.read()["bbox"])
        assert (np.diff(key_N) >= 0).all()
        assert file.metadata.row_group(0).num_rows <= 7
        assert b"geo" in file.schema_arrow.metadata
    assert compact(night.table) == 0, "there is nothing left to do"
    assert not night.table.changed_since(night.model_id, version), "no news to publish"
    assert night.table.commits(night.model_id) == 9, "a night can go on from there"
    night.commit(night.random_codes(1, 1, seed=10))
    assert len(night.rows()) == 64


def test_shards_of_one_commit_divide_the_world_between_them(local_night, little, monkeypatch):
    monkeypatch.setattr(module, "_FILES_A_COMMIT", 100)
    for seed in range(8):
        local_night.commit(local_night.random_codes(3, 3, seed))
    compact(local_night.table)
    ranges = sorted(
        (key_N[0], key_N[-1])
        for key_N in (spatial_key(file.read()["bbox"]) for file in parquet_files(local_night))
    )
    assert len(ranges) == 4
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ranges))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 9)), min_size=1, max_size=6), st.data())
def test_any_units_and_removals_keep_their_rows(local_night, little, tmp_path_factory, units, data):
    table = CodeTable(f"{tmp_path_factory.mktemp('t')}/codes", local_night.table.store)
    night = type(local_night)(table, local_night.model_id)
    uris = []
    for seed, (objects, chips) in enumerate(units):
        codes = night.random_codes(objects, chips, seed)
        night.commit(codes)
        uris += codes
    gone = data.draw(st.sets(st.sampled_from(uris))) if uris else set()
    for uri in gone:  # Delta rewrites their files, under paths of its own making
        table.open().delete(f"uri = '{uri}'")
    rows = night.rows()
    compact(table)
    assert night.rows() == rows
    assert all(len(files) < 2 for files in small_files(table.open()).values())


def test_models_are_kept_apart(local_night, little):
    other = type(local_night)(local_night.table, "demo@ba9876543210")
    for seed in range(3):
        local_night.commit(local_night.random_codes(1, 2, seed))
        other.commit(local_night.random_codes(1, 3, seed))
    rows = local_night.rows(), other.rows()
    compact(local_night.table)
    assert (local_night.rows(), other.rows()) == rows
    assert len(local_night.table.open().file_uris()) == 2


class Meanwhile(CodeTable):
    """A table in which something happens between a compaction's reading and its commit, so many times."""

    def happens(self, what, times=1):
        self.what, self.times = what, times
        return self

    def replace_files(self, *arguments, **options):
        if self.times:
            self.times -= 1
            self.what()
        return super().replace_files(*arguments, **options)


def test_a_night_that_commits_meanwhile_loses_nothing(night, little):
    for seed in range(3):
        night.commit(night.random_codes(1, 2, seed))
    meanwhile, seeds = Meanwhile(night.table.uri, night.table.store), iter((7, 8))
    compact(meanwhile.happens(lambda: night.commit(night.random_codes(2, 2, next(seeds))), times=2))
    assert len({row["chip_id"] for row in night.rows()}) == len(night.rows()) == 6 + 2 * 4


def test_a_removal_meanwhile_is_not_undone(night, little):
    for seed in range(4):
        night.commit(night.random_codes(1, 2, seed))
    meanwhile = Meanwhile(night.table.uri, night.table.store)
    compact(meanwhile.happens(lambda: night.table.open().delete("uri = 's2-0000'")))
    assert {row["uri"] for row in night.rows()} == {"s0-0000", "s1-0000", "s3-0000"}
    assert len(night.rows()) == 6


def test_two_compactions_at_once_repeat_no_row(night, little):
    for seed in range(4):
        night.commit(night.random_codes(1, 2, seed))
    rows = night.rows()
    meanwhile = Meanwhile(night.table.uri, night.table.store)
    compact(meanwhile.happens(lambda: compact(CodeTable(night.table.uri, night.table.store))))
    assert night.rows() == rows


@pytest.mark.parametrize("first_changes", [True, False])
@pytest.mark.parametrize("second_changes", [True, False])
def test_of_two_commits_that_replace_a_file_one_is_refused(night, first_changes, second_changes):
    """Also where both have seen the file before either commits: Delta alone lets two of the four through."""
    night.commit(night.random_codes(2, 2))
    (path,) = files_of(night.table.open(), night.model_id)
    (shard,) = night.write(night.random_codes(2, 2)).shards

    def replace(table, shard, changes):
        if changes:
            return table.remove_rows([path], [shard], night.model_id, 2, {})
        return table.replace_files([path], [shard], night.model_id, {})

    class Stale(CodeTable):
        def _commit(self, table, *arguments):
            replace(night.table, shard, first_changes)
            return super()._commit(table, *arguments)

    (other,) = night.write(night.random_codes(2, 2)).shards
    stale = Stale(night.table.uri, night.table.store)
    with pytest.raises(ConflictError):
        replace(stale, other, second_changes)
    assert len(night.rows()) == 4


def test_a_removal_planned_before_a_compaction_is_refused(night, little):
    """Not lost, not half done: whoever removes rows opens the table anew and does it again."""
    for seed in range(3):
        night.commit(night.random_codes(1, 2, seed))
    stale = night.table.open()
    compact(night.table)
    with pytest.raises(Exception, match="Commit failed"):
        stale.delete("uri = 's1-0000'")
    assert len(night.rows()) == 6


def test_a_table_that_changes_all_the_time_is_left_alone(night, little):
    for seed in range(8):
        night.commit(night.random_codes(1, 2, seed))

    class Busy(CodeTable):
        def replace_files(self, removed, *arguments, **options):
            filesystem, root = self.store.arrow_filesystem(self.uri)
            uri = pq.read_table(f"{root}/{removed[0]}", filesystem=filesystem, columns=["uri"])["uri"][0]
            self.open().delete(f"uri = '{uri}'")
            return super().replace_files(removed, *arguments, **options)

    with pytest.raises(ConflictError, match="is changed all the time"):
        compact(Busy(night.table.uri, night.table.store))
    assert len(night.rows()) == 6
