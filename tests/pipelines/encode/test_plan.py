import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.encode.plan import plan_units

SCHEMA = pa.schema([("uri", pa.string()), ("etag", pa.string())])
versions = st.dictionaries(st.text(min_size=1, max_size=3), st.sampled_from("123"), max_size=20)
pairs = st.sets(st.tuples(st.text(min_size=1, max_size=3), st.sampled_from("123")), max_size=20)


def table(rows):
    return pa.table(list(zip(*rows, strict=True)) or [[], []], schema=SCHEMA)


@given(versions, pairs, st.integers(1, 7))
def test_units_hold_each_undone_object_once(current, done, objects_per_unit):
    units = list(plan_units(table(sorted(current.items())), table(sorted(done)), objects_per_unit))
    planned = [(row["uri"], row["etag"]) for unit in units for row in unit.to_pylist()]
    assert len(planned) == len(set(planned))
    assert set(planned) == set(current.items()) - done
    assert all(0 < len(unit) <= objects_per_unit for unit in units)
