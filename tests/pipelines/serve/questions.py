"""Any question about the archive of these tests, for Hypothesis."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from tests.pipelines.serve.conftest import Archive

TABLES = ("one part", "two parts")
"""Versions of the table, by the parts that their codes have."""


def times(day: int) -> str:
    return datetime(2025, 1, day, tzinfo=UTC).isoformat().replace("+00:00", "Z")


LONGITUDES, LATITUDES = st.floats(-180, 180, width=16), st.floats(0, 12, width=16)
DAYS = st.integers(1, 6)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "bbox": st.tuples(LONGITUDES, LATITUDES, LONGITUDES, LATITUDES).map(
            lambda box: [box[0], min(box[1], box[3]), box[2], max(box[1], box[3])]
        ),
        "datetime": st.one_of(
            DAYS.map(times),
            DAYS.map(lambda day: f"{times(day)}/.."),
            DAYS.map(lambda day: f"../{times(day)}"),
            st.tuples(DAYS, DAYS).map(lambda days: f"{times(min(days))}/{times(max(days))}"),
        ),
        "collections": st.lists(st.sampled_from(["tests", "others"]), min_size=1, max_size=2),
        "min_valid_fraction": st.floats(0, 1),
    },
)
LIMITS = st.one_of(
    st.fixed_dictionaries({}, optional={"k": st.integers(1, 80), "limit": st.integers(1, 80)}),
    st.fixed_dictionaries(
        {"max_distance": st.integers(-40, 80)},
        optional={"k": st.integers(1, 80), "limit": st.integers(1, 80)},
    ),
)
ROWS = st.integers(0, 63)
COMPARED = st.one_of(
    st.tuples(
        st.just("one part"),
        st.fixed_dictionaries({}, optional={"compare": st.sampled_from(["both", "kind"])}),
    ),
    st.tuples(st.just("two parts"), st.fixed_dictionaries({}, optional={"kind_weight": st.integers(0, 8)})),
    st.tuples(st.just("two parts"), st.fixed_dictionaries({"compare": st.sampled_from(["kind", "look"])})),
)
"""A table, and how its codes are compared."""
BIT_WEIGHTS = st.text("0123456789abcdef", min_size=32, max_size=32)
EXAMPLES = st.one_of(
    st.tuples(st.binary(min_size=4, max_size=4), st.none() | BIT_WEIGHTS),
    st.tuples(
        st.lists(ROWS, min_size=1, max_size=4),
        st.lists(ROWS, max_size=3),
        st.sampled_from([None, True, False]),
    ),
)
"""A code with or without weights; or rows of examples for and against, and whether they are left out."""


def example_fields(archive: Archive, example: tuple[Any, ...]) -> dict[str, Any]:
    """Return an example as the fields of a request."""
    if len(example) == 2:
        code, weights = example
        return {"code": code.hex()} | ({} if weights is None else {"bit_weights": weights})
    positives, negatives, exclude = example
    fields: dict[str, Any] = {"chip_ids": [archive.ids()[row] for row in positives]}
    if negatives:
        fields["negative_ids"] = [archive.ids()[row] for row in negatives]
    if exclude is not None:
        fields["exclude_self"] = exclude
    return fields


def with_radius(query: dict[str, Any]) -> dict[str, Any]:
    """Return a query whose radius is below 0 only where it has examples against."""
    radius = query.get("max_distance")
    return query if radius is None or "negative_ids" in query else query | {"max_distance": abs(radius)}
