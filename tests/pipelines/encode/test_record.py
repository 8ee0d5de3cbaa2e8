"""However a night ends, its record says so."""

import pytest

from pipelines.encode.in_process import InProcessExecution
from pipelines.encode.parcels import objects_of
from pipelines.encode.run import run_encode
from pipelines.errors import ConflictError, GateError, StorageError, TableError
from pipelines.gate.config import GateConfig
from pipelines.table.code_table import CodeTable
from pipelines.table.night_record import RECORD, find_night


def test_each_end_has_its_outcome(archive):
    config = archive.night("codes")
    run_encode(config.model_copy(update={"dry_run": True}))
    assert find_night(config.table, archive.store) is None

    strict = config.model_copy(update={"gate": GateConfig(max_reject_share=0.01)})
    with pytest.raises(GateError) as caught:
        run_encode(strict)
    night = find_night(config.table, archive.store)
    assert (night.outcome, night.run_id) == ("gate_failed", caught.value.report.run_id)
    assert night.reason.startswith("not published: reject_share is 0.25")
    assert (night.figures["gate/reject_share"], night.figures["rejects/zero_bytes"]) == (0.25, 1)

    report = run_encode(config)
    night = find_night(config.table, archive.store)
    assert (night.outcome, night.reason, night.figures) == ("published", "", report.numbers())
    assert night.started_at < night.ended_at

    run_encode(config)
    assert find_night(config.table, archive.store).outcome == "nothing_new"

    archive.store.remove_folder(config.source)
    with pytest.raises(StorageError):
        run_encode(config)
    night = find_night(config.table, archive.store)
    assert (night.outcome, night.figures) == ("broken_off", {})
    assert night.reason.startswith("StorageError: ")


def test_a_record_that_cannot_be_written_costs_nothing(archive, tmp_path):
    config = archive.night("codes")
    (tmp_path / "codes" / RECORD / "in the way").mkdir(parents=True)
    assert run_encode(config).chips == 24


def test_a_record_of_another_format(archive):
    config = archive.night("codes")
    archive.store.write(f"{config.table}/{RECORD}", b'{"format_version": 2}')
    with pytest.raises(TableError, match=r"_night\.json isn't a record that this version reads"):
        find_night(config.table, archive.store)


def test_a_unit_that_meets_another_commit_is_committed_after_it(archive, monkeypatch):
    """It isn't encoded again, and leaves no shard behind; a night that meets one each time ends."""
    monkeypatch.setattr("pipelines.table.conflicts.FIRST_PAUSE", 1e-4)
    config = archive.night("codes")
    encoded, commit_unit = [], CodeTable.commit_unit
    read = InProcessExecution.read

    def counted(execution, portion):
        encoded.extend(objects_of(portion)["uri"].to_pylist())
        return read(execution, portion)

    def met(table, shards, model_id, number, lineage, **rest):
        if met.times:
            met.times -= 1
            commit_unit(table, [], model_id, number, {"run_id": "another"})
        return commit_unit(table, shards, model_id, number, lineage, **rest)

    monkeypatch.setattr(InProcessExecution, "read", counted)
    monkeypatch.setattr(CodeTable, "commit_unit", met)
    met.times = 2
    report = run_encode(config)
    assert report.chips == 24
    assert len(encoded) == len(set(encoded)), "no object is encoded twice"
    assert archive.spoil_orphans("codes") == 0
    archive.second_day()
    met.times = 1000
    with pytest.raises(ConflictError, match="tried 10 times"):
        run_encode(config)
    assert archive.spoil_orphans("codes") == 0
