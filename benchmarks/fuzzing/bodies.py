"""Bodies of searches, and what filters make of them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import shapely
from hypothesis import strategies as st

from benchmarks.fuzzing.target import Target, check
from pipelines.api.requests import GEOMETRIES, MAX_K, SearchRequest
from pipelines.index.request_filters import fulfilling
from pipelines.serve.cursor import START
from pipelines.serve.question import Question

_NUMBERS = (
    st.floats(-400, 400) | st.integers(-(10**30), 10**30) | st.sampled_from([0, 180, -180, 90, -90, 1e308])
)
_VALUES = st.none() | st.booleans() | _NUMBERS | st.text(max_size=20)
_POSITIONS = st.lists(st.floats(-180, 180) | _NUMBERS, min_size=1, max_size=4)
_RINGS = st.lists(_POSITIONS, max_size=6).map(lambda ring: ring + ring[:1])
_GEOMETRIES = st.fixed_dictionaries(
    {
        "type": st.sampled_from([*GEOMETRIES, "GeometryCollection", "Feature"]),
        "coordinates": st.recursive(
            _POSITIONS | _RINGS, lambda inner: st.lists(inner, max_size=3), max_leaves=8
        ),
    }
)
_TIMES = st.datetimes().map(lambda time: f"{time.isoformat()}Z")
_SOUND = {
    "code": st.binary(min_size=8, max_size=8).map(bytes.hex),
    "chip_ids": st.lists(st.text(max_size=5), max_size=3),
    "negative_ids": st.lists(st.text(max_size=5), max_size=3),
    "point": st.tuples(_NUMBERS, _NUMBERS),
    "bbox": st.lists(st.floats(-180, 180), min_size=4, max_size=4),
    "intersects": _GEOMETRIES,
    "datetime": _TIMES | st.tuples(_TIMES, _TIMES).map("/".join),
    "collections": st.lists(st.text(max_size=3), max_size=3),
    "min_valid_fraction": _NUMBERS,
    "k": st.integers(-1, MAX_K + 1),
    "max_distance": _NUMBERS,
    "limit": st.integers(-1, MAX_K + 1),
    "exclude_self": st.booleans(),
}
_BODIES = st.fixed_dictionaries({}, optional={name: sound | _VALUES for name, sound in _SOUND.items()})
_CODED = st.builds(lambda body, code: body | {"code": code.hex()}, _BODIES, st.binary(min_size=8, max_size=8))
_INPUTS = (_BODIES | _CODED).map(lambda body: json.dumps(body).encode()) | st.binary(max_size=200)


def _rows() -> pa.Table:
    """Return a few chips, one of them over the antimeridian, one without a place."""
    boxes = [(0, 0, 1, 1), (179, 10, -179, 11), (-10, 80, 10, 89), None]
    outlines = [
        shapely.box(0, 0, 1, 1),
        shapely.union(shapely.box(179, 10, 180, 11), shapely.box(-180, 10, -179, 11)),
        shapely.box(-10, 80, 10, 89),
    ]
    sides = ("xmin", "ymin", "xmax", "ymax")
    return pa.table(
        {
            "bbox": pa.array(
                [box and dict(zip(sides, map(float, box), strict=True)) for box in boxes],
                pa.struct([(side, pa.float64()) for side in sides]),
            ),
            "geometry": pa.array([*(shapely.to_wkb(shape) for shape in outlines), None], pa.binary()),
            "datetime": pa.array([0, 10**15, None, 0], pa.timestamp("us", tz="UTC")),
            "collection": pa.array(["a", "b", "a", "a"]),
            "valid_fraction": pa.array(np.ones(4, np.float32)),
        }
    )


@contextmanager
def _prepared() -> Iterator[Callable[[bytes], None]]:
    rows = _rows()
    fulfilling(rows, SearchRequest(code="00", bbox=(0, 0, 1, 1)))  # compiles what is compiled on first use

    def attempt(body: bytes) -> None:
        try:
            request = SearchRequest.model_validate_json(body)
        except ValueError:  # a ValidationError is one: a refusal that says which field
            return
        found = fulfilling(rows, request)
        check(len(found) <= len(rows), "more rows than there are")
        question = Question(request, START)
        check(0 <= question.page_size <= MAX_K, f"a page of {question.page_size}")
        check(0 <= question.reach <= 2 * MAX_K, f"a reach of {question.reach}")

    yield attempt


TARGET = Target("bodies", _INPUTS, _prepared)
