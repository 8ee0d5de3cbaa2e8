"""Rows along the curve in bounded pieces, against Arrow's own sort of all of them at once."""

from itertools import chain

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.encode.chips import CHIP
from pipelines.encode.parcels import ENCODED_SCHEMA
from pipelines.encode.shards import Lineage, write_unit
from pipelines.table import shard_files as shards
from pipelines.table import sorting
from pipelines.table.code_table import CodeTable
from pipelines.table.sorting import in_bounded_pieces, spatial_key, spatially_sorted

SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("geometry", pa.binary()),
        ("properties", pa.map_(pa.string(), pa.string())),
        ("bbox", pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])),
    ]
)
ROWS, BYTES = 7, 2000


@pytest.fixture
def little(monkeypatch):
    """Bounds that a test reaches."""
    monkeypatch.setattr(sorting, "ROWS_PER_PIECE", ROWS)
    monkeypatch.setattr(sorting, "BYTES_PER_PIECE", BYTES)


places = st.none() | st.builds(
    lambda x, y: {"xmin": x, "ymin": y, "xmax": x, "ymax": y}, st.floats(-180, 180), st.floats(-90, 90)
)
rows = st.builds(
    lambda uri, size, properties, bbox: {
        "uri": uri, "geometry": None if size is None else bytes(size), "properties": properties, "bbox": bbox
    },
    st.text(max_size=3),
    st.none() | st.integers(0, 900),
    st.none() | st.dictionaries(st.text(max_size=2), st.none() | st.text(max_size=300), max_size=3).map(
        lambda pairs: list(pairs.items())
    ),
    places,
)  # fmt: skip
tables = st.lists(
    st.lists(rows, max_size=12).map(lambda some: pa.Table.from_pylist(some, SCHEMA)), max_size=6
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(tables)
def test_pieces_are_the_sorted_rows_and_keep_to_their_bounds(little, tmp_path_factory, tables):
    joined = pa.concat_tables([SCHEMA.empty_table(), *tables]).combine_chunks()
    order_N = np.argsort(spatial_key(joined["bbox"]), kind="stable")
    pieces = list(spatially_sorted(tables, SCHEMA, tmp_path_factory.mktemp("sorting")))
    assert [row for piece in pieces for row in piece.to_pylist()] == joined.take(order_N).to_pylist()
    assert all(len(piece) <= ROWS for piece in pieces)
    assert all(len(piece) == 1 or piece.combine_chunks().nbytes <= BYTES for piece in pieces)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(tables)
def test_in_bounded_pieces_changes_no_row(little, tables):
    pieces = list(in_bounded_pieces(tables))
    expected = [row for table in tables for row in table.to_pylist()]
    assert [row for piece in pieces for row in piece.to_pylist()] == expected
    assert all(len(piece) == 1 or len(piece) <= ROWS for piece in pieces)


def block(objects, properties):
    """Rows of one block of a unit: eight chips of each object, at places of their own."""
    rng = np.random.default_rng(len(objects))
    chips = [
        {
            "outcome": CHIP, "uri": uri, "etag": "1", "chip_id": f"{uri}-{number}", "collection": "c",
            "window": {"x": number, "y": 0, "w": 1, "h": 1}, "valid_fraction": 1.0, "cut": "{}",
            "properties": [("p", properties)], "code": b"12345678",
            "position": number, "is_last": number == 7 and uri != "a1",
            "bbox": dict.fromkeys(("xmin", "xmax"), rng.uniform(-180, 180))
            | dict.fromkeys(("ymin", "ymax"), rng.uniform(-90, 90)),
        }
        for uri in objects for number in range(8)
    ]  # fmt: skip
    return pa.Table.from_pylist(chips, ENCODED_SCHEMA)


def test_a_unit_is_written_in_pieces_whatever_its_size(store, tmp_path, little, monkeypatch):
    """What failed at 2 GiB in one column: nothing that is written at once is larger than the bounds."""
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 40)
    written = []
    add = shards.ShardWriter.add

    def watched(writer, rows):
        written.append(rows)
        add(writer, rows)

    monkeypatch.setattr(shards.ShardWriter, "add", watched)
    names = [[f"{letter}{number}" for number in range(4)] for letter in "abc"]
    blocks = (block(some, "x" * 150) for some in names)
    objects = pa.table({"uri": [uri for some in names for uri in some]})
    broken = block(["a1"], "").slice(0, 1)
    broken = broken.set_column(0, "outcome", pa.array(["truncated"]))
    for name, value in (("position", pa.array([8], pa.int32())), ("is_last", pa.array([True]))):
        broken = broken.set_column(broken.column_names.index(name), name, value)
    broken = broken.set_column(1, "detail", pa.array(["at the end"]))
    unit = write_unit(str(tmp_path / "codes"), store, Lineage("m@1", "run"), objects, chain(blocks, [broken]))
    assert all(len(rows) <= ROWS and rows.combine_chunks().nbytes <= BYTES for rows in written)
    assert [shard.rows for shard in unit.shards] == [40, 40, 8]
    assert unit.rejects["uri"].to_pylist() == ["a1"], "what broke off gives its chips back"
    table = CodeTable(str(tmp_path / "codes"), store)
    table.create()
    table.commit_unit(unit.shards, "m@1", 1, {})
    stands = {uri for uris in names for uri in uris} - {"a1"}
    assert set(table.read("m@1", ["uri"])["uri"].to_pylist()) == stands
