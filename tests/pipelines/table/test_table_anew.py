"""A table that is deleted and encoded anew at the same URI: what is remembered of the old one is void."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from model.bundle import Manifest
from model.spec import CodePart, CodeSpec, InputSpec, NetworkSpec
from pipelines.api.requests import Filters, SearchRequest
from pipelines.errors import TableError
from pipelines.gate.config import GateConfig
from pipelines.gate.forward import Candidate, publish_forward
from pipelines.hamming.comparison import Comparison
from pipelines.index.table_index import IndexedRows, open_index
from pipelines.maintain.vacuum import kept_versions
from pipelines.publish.config import PublishConfig
from pipelines.publish.run import run_publish
from pipelines.serve.cursor import Cursor, read_token, write_token
from pipelines.serve.question import Question
from pipelines.serve.shard import why_refused
from pipelines.serve.snapshot import Snapshot
from pipelines.table.pointer import Published, read_pointer
from pipelines.watch.new_matches import Search, find_new_matches, is_newer
from pipelines.watch_files.watch_state import SeenVersion

CODE = CodeSpec((CodePart("kind", 32),))
LENIENT = GateConfig(min_chips=10**6, min_objects=10**6)


def publish(night, version):
    return publish_forward(night.table, Candidate(version, night.model_id, "bundle", "run"), CODE, LENIENT)


@pytest.fixture
def old(local_night):
    """A table of three units, published as a whole, and before that the first one."""
    publish(local_night, local_night.commit(local_night.random_codes(2, 4, seed=1)))
    local_night.commit(local_night.random_codes(2, 4, seed=2))
    publish(local_night, local_night.commit(local_night.random_codes(2, 4, seed=3)))
    return local_night


def make_anew(night, codes, *, with_pointer=False):
    """Delete the table, with or without what is published, and commit a unit; return its version."""
    store, folder = night.table.store, night.table.uri
    pointer = Path(folder) / "_published.json"
    kept = pointer.read_bytes()
    store.remove_folder(folder)
    store.remove_folder(night.table.rejects_uri)
    version = night.commit(codes)
    if not with_pointer:
        pointer.write_bytes(kept)
    return version


def test_an_index_folder_is_one_tables(old, tmp_path):
    def codes(version):
        index = open_index(tmp_path / "index", IndexedRows(old.table, old.model_id, version, (32,)))
        return {index.rows.chip_id(row): index.codes.code(row).tobytes() for row in range(len(index.rows))}

    first = codes(1)
    assert len(first) == 8
    others = old.random_codes(2, 4, seed=9)
    assert make_anew(old, others, with_pointer=True) == 1
    assert codes(1) == {
        f"{uri}-{number}": code_Y.tobytes()
        for uri, codes_NY in others.items()
        for number, code_Y in enumerate(codes_NY)
    }


def test_a_pointer_that_was_left_is_no_measure_of_the_new_table(old):
    before = read_pointer(old.table.uri, old.table.store)
    assert before.table_version == 3
    outcome = publish(old, make_anew(old, old.random_codes(1, 2, seed=9)))
    assert (outcome.published.table_version, outcome.published.number) == (1, before.number + 1)
    assert outcome.published.table_id == old.table.id() != before.table_id
    assert outcome.published.highest_versions == {old.model_id: 1}
    assert "last_chips" not in outcome.verdict.measured.figures
    assert kept_versions(old.table, 30, 5) == [1]
    with pytest.raises(TableError, match=r"nothing was published at .* before version 1"):
        run_publish(PublishConfig(table=old.table.uri, rollback=True, store=old.table.store.config))


def test_a_watch_looks_at_all_of_the_new_table(old):
    looked = {old.model_id: SeenVersion.of(read_pointer(old.table.uri, old.table.store))}
    codes = old.random_codes(1, 2, seed=9)
    published = publish(old, make_anew(old, codes)).published
    assert is_newer(published, looked)
    (codes_NY,) = codes.values()
    matches = find_new_matches(
        old.table, published, looked, [Search(codes_NY[:1], (32,), Comparison((1,), (0,)), 32, Filters(), ())]
    )
    assert matches.compared == len(matches.rows[0]) == 2
    assert matches.gone == {old.model_id}
    assert "was made anew" in matches.notes[0]


def test_pages_go_on_in_their_own_table_only(old, tmp_path):
    request = SearchRequest(code="00000000", limit=1)
    token = write_token(request, 1, Cursor(1, 0, 0, "a", "first"))
    version, cursor = read_token(request.model_copy(update={"token": token}))
    assert (version, cursor.table_id) == (1, "first")
    publication = {"table_version": 1, "model_id": "m", "bundle_uri": "b", "run_id": "r", "gate": {}}
    question = Question(request, cursor)
    now = datetime.now(UTC)
    first, second = (
        Published(**publication, published_at=now, table_id=each) for each in ("first", "second")
    )
    manifest = Manifest("m", NetworkSpec(kind_bits=32), InputSpec(), (), {}, "r")
    index = open_index(tmp_path / "index", IndexedRows(old.table, old.model_id, 1, (32,)))
    first, second = (Snapshot(each, manifest, index) for each in (first, second))
    assert why_refused(question, first) is None
    refusal = why_refused(question, second)
    assert (refusal.status, refusal.code) == (410, "not_kept")
    assert why_refused(replace(question, cursor=Cursor()), second) is None


def test_two_tables_have_two_ids(old):
    before = old.table.id()
    assert old.table.id(1) == before
    make_anew(old, {"a": np.zeros((1, 4), np.uint8)})
    assert old.table.id() != before
