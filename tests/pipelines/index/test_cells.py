"""Cells are what Arrow's scalars say."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.index.cells import cells, values

BOX = pa.struct([("xmin", pa.float64()), ("ymin", pa.float64())])
WINDOW = pa.struct([("x", pa.int32()), ("y", pa.int32())])
KINDS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.string(), st.text()),
    (pa.large_string(), st.text()),
    (pa.binary(), st.binary()),
    (pa.large_binary(), st.binary()),
    (pa.string_view(), st.text()),
    (
        BOX,
        st.fixed_dictionaries({"xmin": st.none() | st.floats(allow_nan=False), "ymin": st.just(1.5)}),
    ),
    (WINDOW, st.fixed_dictionaries({"x": st.integers(-(2**31), 2**31 - 1), "y": st.just(0)})),
]


@pytest.mark.parametrize(("kind", "each"), KINDS, ids=[str(kind) for kind, _ in KINDS])
@given(data=st.data(), skipped=st.integers(0, 2))
def test_cells(kind: pa.DataType, each: st.SearchStrategy[Any], data: st.DataObject, skipped: int) -> None:
    wanted = data.draw(st.lists(st.none() | each, min_size=skipped, max_size=20))
    array = pa.array(wanted, kind).slice(skipped)
    read = cells(array)
    as_tuples = [tuple(one.values()) if isinstance(one, dict) else one for one in array.to_pylist()]
    assert [read(place) for place in range(len(array))] == values(array) == as_tuples
    assert array.to_pylist() == wanted[skipped:]
