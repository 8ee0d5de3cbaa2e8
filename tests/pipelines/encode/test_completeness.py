"""Objects are whole, or they are named: whatever a repeated task puts in the place of its first rows."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.encode.completeness import Completeness

_SCHEMA = pa.schema([("uri", pa.string()), ("position", pa.int32()), ("is_last", pa.bool_())])


def rows_of(counts):
    """Rows of objects by the number of their chips."""
    return [
        {"uri": f"{number}", "position": position, "is_last": position == count - 1}
        for number, count in enumerate(counts)
        for position in range(count)
    ]


def not_whole(blocks, objects):
    completeness = Completeness(f"{number}" for number in range(objects))
    for block in blocks:
        completeness.see(pa.Table.from_pylist(block, _SCHEMA))
    return set(completeness.not_whole())


def in_blocks(rows, size):
    return [rows[start : start + size] for start in range(0, len(rows), size)]


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(1, 7))
def test_objects_that_come_as_they_are_read_are_whole(counts, size):
    assert not_whole(in_blocks(rows_of(counts), size), len(counts)) == set()


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=8),
    st.data(),
    st.integers(1, 5),
)
def test_a_repeated_task_may_read_other_objects(counts, data, size):
    """Blocks of several attempts follow each other. In each some objects have one row: they weren't read."""
    attempts = []
    for _ in range(3):
        read = data.draw(st.lists(st.booleans(), min_size=len(counts), max_size=len(counts)))
        found = [count if is_read else 1 for count, is_read in zip(counts, read, strict=True)]
        attempts.append(in_blocks(rows_of(found), size))
    number = data.draw(st.integers(0, max(map(len, attempts))))
    other = data.draw(st.integers(0, max(map(len, attempts))))
    first, last = sorted((number, other))
    blocks = [*attempts[0][:first], *attempts[1][first:last], *attempts[2][last:]]
    named = not_whole(blocks, len(counts))
    rows = [row for block in blocks for row in block]
    for number in range(len(counts)):
        own = [(row["position"], row["is_last"]) for row in rows if row["uri"] == f"{number}"]
        is_whole = own == [(position, position == len(own) - 1) for position in range(len(own))] and own
        assert (f"{number}" not in named) == bool(is_whole)


def test_rows_that_nobody_expects_are_named():
    completeness = Completeness(["a"])
    completeness.see(pa.Table.from_pylist([{"uri": "b", "position": 0, "is_last": True}], _SCHEMA))
    assert completeness.unknown == {"b"}
    assert completeness.not_whole() == ["a"]
