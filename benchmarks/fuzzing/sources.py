"""Lists of objects: manifests, STAC documents and file names as others write them."""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from benchmarks.fuzzing.target import Target, check
from pipelines.config import StoreConfig
from pipelines.encode.config import EncodeConfig
from pipelines.errors import ScenehashError
from pipelines.sources.listing import list_source
from pipelines.storage.store import Store

_TEXTS = st.text(max_size=12) | st.sampled_from(
    [
        "a.tif",
        "../a.tif",
        "s3://b/a.tif",
        "2026-01-01T00:00:00Z",
        "9999-12-31T23:59:60Z",
        '"',
        "\r\n",
        "~",
        "//",
    ]
)
_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS
_ANY = st.recursive(
    _VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
_COLUMNS = ("uri", "etag", "modified", "datetime", "collection", "cloud")
_CSVS = st.tuples(
    st.lists(st.sampled_from(_COLUMNS), min_size=1, max_size=6),
    st.lists(st.lists(_TEXTS, max_size=6), max_size=5),
).map(lambda table: "\n".join(",".join(cells) for cells in [table[0], *table[1]]).encode(errors="replace"))
_PROPERTIES = st.dictionaries(
    st.sampled_from(["datetime", "start_datetime", "updated", "eo:cloud_cover"]), _ANY
)
_ASSETS = st.dictionaries(
    _TEXTS, st.fixed_dictionaries({}, optional={"href": _ANY, "type": _ANY, "roles": _ANY}) | _ANY, max_size=2
)
_LINKS = st.lists(
    st.fixed_dictionaries(
        {"rel": st.sampled_from(["item", "child", "next", "self", "items"])},
        optional={"href": st.sampled_from(["list.json", "list.geojson", "./", "a.tif"]) | _ANY},
    )
    | _ANY,
    max_size=3,
)
_ITEMS = st.fixed_dictionaries(
    {"type": st.just("Feature"), "stac_version": st.just("1.0.0")},
    optional={"id": _ANY, "properties": _PROPERTIES | _ANY, "assets": _ASSETS | _ANY, "links": _LINKS | _ANY},
)
_CATALOGS = st.fixed_dictionaries(
    {"type": st.sampled_from(["Catalog", "Collection"]), "stac_version": st.just("1.0.0")},
    optional={"links": _LINKS | _ANY, "id": _ANY},
)
_COLLECTIONS = st.fixed_dictionaries(
    {"type": st.just("FeatureCollection"), "features": st.lists(_ITEMS | _ANY, max_size=3) | _ANY},
    optional={"links": _LINKS},
)


def _parquet(columns: Mapping[str, Sequence[object]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(
        pa.table({name: pa.array([str(v) for v in some]) for name, some in columns.items()}), buffer
    )
    return buffer.getvalue()


_PARQUETS = (
    st.lists(st.sampled_from(_COLUMNS), min_size=1, max_size=4, unique=True)
    .flatmap(
        lambda names: st.fixed_dictionaries(
            {name: st.lists(_VALUES, min_size=2, max_size=2) for name in names}
        )
    )
    .map(_parquet)
)
_INPUTS = st.one_of(
    st.tuples(st.just("list.csv"), _CSVS | st.binary(max_size=100)),
    st.tuples(st.just("list.parquet"), _PARQUETS | st.binary(max_size=100)),
    st.tuples(
        st.sampled_from(["list.json", "list.geojson"]),
        (_ITEMS | _CATALOGS | _COLLECTIONS | _ANY).map(lambda document: json.dumps(document).encode()),
    ),
)


@contextmanager
def _prepared() -> Iterator[Callable[[tuple[str, bytes]], None]]:
    with TemporaryDirectory() as folder:
        archive, spilled = Path(folder) / "archive", Path(folder) / "spilled"
        archive.mkdir()
        spilled.mkdir()

        def attempt(document: tuple[str, bytes]) -> None:
            name, content = document
            path = archive / name
            path.write_bytes(content)
            try:
                config = EncodeConfig(source=str(path), table=f"{folder}/codes", bundle="b")
                listing = list_source(config, Store(StoreConfig()), spilled)
            except ScenehashError:
                return
            finally:
                path.unlink()
            uris = pq.read_table(listing.objects, columns=["uri", "etag"])
            check(len(uris) == listing.count, f"{listing.count} objects, and {len(uris)} rows")
            check(uris["uri"].null_count == 0, "an object without a name")
            check(len(uris["uri"].unique()) == len(uris), "an object twice")

        yield attempt


TARGET = Target("sources", _INPUTS, _prepared)
