"""Cleaning: what was published stays readable as long as it is kept, the rest goes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.errors import StorageError, TableError
from pipelines.maintain.config import MaintainConfig
from pipelines.maintain.run import run_maintain
from pipelines.maintain.vacuum import clear_log, kept_versions
from pipelines.publish.config import PublishConfig
from pipelines.publish.run import run_publish
from pipelines.table.pointer import Published, find_pointer, publish


def maintain(night, **options):
    return run_maintain(MaintainConfig(table=night.table.uri, store=night.table.store.config, **options))


def publish_version(night, version, days_ago=0.0):
    uri, store = night.table.uri, night.table.store
    news = Published(
        table_version=version,
        model_id=night.model_id,
        bundle_uri="b",
        run_id="r",
        published_at=datetime.now(UTC) - timedelta(days=days_ago),
        gate={},
    )
    publish(uri, store, news, find_pointer(uri, store))


def files_of(night):
    return {str(path) for path in Path(night.table.uri).glob("*/*.parquet")}


def test_what_is_kept_is_whole_and_the_rest_is_gone(local_night):
    """Seven versions; 2 and 6 are published, 4 was long ago; and what killed nights have left."""
    night, rows = local_night, {}
    for seed in range(3):
        rows[night.commit(night.random_codes(2, 2, seed))] = None
    night.table.open().delete("uri = 's0-0000'")
    night.commit(night.random_codes(1, 1, seed=5))
    night.table.open().delete("uri = 's1-0001'")
    published = {version: night.rows(version) for version in (2, 4, 6)}
    for version, days_ago in ((4, 90), (2, 80), (6, 10)):
        publish_version(night, version, days_ago)
    orphan = f"{night.table.uri}/model_id={night.model_id}/orphan.parquet"
    pq.write_table(pq.read_table(next(iter(files_of(night)))), orphan)
    half_written = Path(f"{orphan}.7.tmp")
    half_written.write_bytes(b"PAR1")
    before = files_of(night)

    assert maintain(night).removed_files == 0, "nothing is old enough"
    night.age(hours=49)
    plan = maintain(night, dry_run=True, keep_days=0)
    assert (plan.kept_versions, plan.removed_files, files_of(night) >= before) == ([2, 6], 2, True)
    assert maintain(night, keep_days=0).removed_files == 2, "the others' removal is too new"
    assert not Path(orphan).exists()
    assert not half_written.exists()
    for version in (2, 4, 6):
        assert night.rows(version) == published[version]


def test_versions_that_were_served_within_the_window_are_kept(local_night):
    for seed in range(6):
        local_night.commit(local_night.random_codes(1, 1, seed))
    for version, days_ago in ((1, 100), (2, 60), (3, 20), (4, 10)):
        publish_version(local_night, version, days_ago)
    assert kept_versions(local_night.table, 30, 1) == [2, 3, 4], "2 was served until 20 days ago"
    assert kept_versions(local_night.table, 15, 1) == [3, 4]
    assert kept_versions(local_night.table, 0, 1) == [4]
    assert kept_versions(local_night.table, 0, 4) == [1, 2, 3, 4]


def test_log_entries_go_only_below_the_oldest_kept_version(night):
    table = night.table
    for seed in range(8):
        night.commit(night.random_codes(1, 2, seed))
        if seed in (2, 5):
            table.open().create_checkpoint()
    rows = {version: night.rows(version) for version in (5, 6, 8)}
    for version in (2, 5, 8):
        publish_version(night, version, days_ago=50)
    report = maintain(night, keep_days=0)  # 5 is kept; it is made from the checkpoint at 3 and two commits
    assert (report.kept_versions, report.removed_log_entries) == ([5, 8], 0), "all are young"
    assert clear_log(table.uri, table.store, 5, grace_hours=0, dry_run=False) == 3
    assert {version: night.rows(version) for version in rows} == rows
    assert night.table.commits(night.model_id) == 8
    with pytest.raises(TableError, match="no version 1 any more"):
        night.rows(1)
    assert not table.changed_since(night.model_id, 8)
    assert table.changed_since(night.model_id, 0), "the log doesn't reach back: who knows"


def test_rolling_back_to_what_is_gone_is_refused(night):
    for seed in range(2):
        publish_version(night, night.commit(night.random_codes(1, 2, seed)))
    gone = night.table.open(1).file_uris()[0]
    night.table.store.remove(gone)
    with pytest.raises(TableError, match=r"version 1 of .* has lost files"):
        run_publish(PublishConfig(table=night.table.uri, rollback=True, store=night.table.store.config))
    assert find_pointer(night.table.uri, night.table.store).table_version == 2


def test_maintenance_of_a_table_never_published(night):
    for seed in range(3):
        night.commit(night.random_codes(2, 2, seed), rejected=(f"r{seed}",))
    rows = night.rows()
    report = maintain(night)
    assert (report.merged, report.shards, report.kept_versions) == (3, 1, [])
    assert night.rows() == rows
    assert len(night.table.open_rejects().file_uris()) == 1
    assert len(night.table.stream_rejects(night.model_id, ["uri"]).read_all()) == 3
    again = maintain(night)
    assert (again.merged, again.shards, again.removed_files) == (0, 1, 0)


def test_no_table_is_the_users_error(local_night):
    with pytest.raises(TableError, match="no code table at"):
        maintain(local_night)


def test_what_delta_cannot_do_is_one_line(local_night):
    """Its own errors would be a traceback: here the checkpoint's file can't be written."""
    local_night.commit(local_night.random_codes(1, 1, seed=0))
    (Path(local_night.table.uri) / "_delta_log/_last_checkpoint").mkdir()
    with pytest.raises(StorageError, match=r"codes can't be maintained: .*Is a directory"):
        maintain(local_night)
