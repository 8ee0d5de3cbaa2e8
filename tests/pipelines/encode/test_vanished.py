"""Objects that the source doesn't list any more are told, also without prune."""

from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from pipelines.encode.run import run_encode
from tests.pipelines.encode.changing import Archive, encode_in_process


@pytest.fixture
def archive(store, tmp_path, write_model, geotiff, monkeypatch):
    """An archive of a first day that is encoded; then one of its six scenes is removed."""
    encode_in_process(monkeypatch)
    archive = Archive.below(str(tmp_path), store, write_model, geotiff)
    archive.first_day()
    run_encode(archive.config)
    store.remove(f"{archive.config.source}/003.tif")
    return archive


@pytest.mark.parametrize("dry_run", [True, False])
def test_without_prune_they_are_counted_and_named_and_keep_their_chips(archive, dry_run):
    with capture_logs() as lines:
        report = run_encode(archive.config.model_copy(update={"prune": False, "dry_run": dry_run}))
    gone = f"{archive.config.source}/003.tif"
    assert (report.vanished, report.vanished_examples, report.removed) == (1, (gone,), 0)
    assert report.numbers()["vanished"] == 1
    event = "the source doesn't list all encoded objects any more; their chips stay"
    (line,) = [line for line in lines if line["event"] == event]
    assert gone in str(line)


def test_with_prune_they_are_removed_and_then_no_more_are_told(archive):
    with capture_logs() as lines:
        report = run_encode(archive.config)
    assert (report.vanished, report.removed) == (1, 4)
    assert not any("their chips stay" in line["event"] for line in lines)
    again = run_encode(archive.config)
    assert (again.vanished, again.vanished_examples) == (0, ())


def test_a_night_over_a_part_of_the_archive_cannot_know_them(archive):
    part = {"prune": False, "by": "modified", "since": datetime(2000, 1, 1, tzinfo=UTC)}
    report = run_encode(archive.config.model_copy(update=part))
    assert (report.vanished, report.vanished_examples) == (None, ())
    assert "vanished" not in report.numbers()
