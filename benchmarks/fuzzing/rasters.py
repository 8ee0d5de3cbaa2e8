"""Files that may be images: sound ones of many kinds, altered and cut."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import rasterio
from hypothesis import strategies as st
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from benchmarks.fuzzing.target import Target, check
from model.spec import InputSpec
from pipelines.config import StoreConfig
from pipelines.encode.chips import CHIP, read_objects
from pipelines.encode.config import EncodeConfig
from pipelines.sources.chip_specs import chip_specs_of
from pipelines.storage.store import Store

_SIDE = 24  # pixels
_KINDS = ("GTiff", "PNG", "JPEG")
_CRS = (None, "EPSG:4326", "EPSG:3857", "EPSG:32601", "EPSG:3413", "EPSG:3031", "ESRI:54008")


def _image(kind: str, bands: int, crs: str | None, place: tuple[float, ...], fill: int) -> bytes:
    transform = Affine(place[0], place[1], place[2], place[1], -place[0], place[3])
    profile: dict[str, Any] = {
        "driver": kind,
        "width": _SIDE,
        "height": _SIDE,
        "count": bands,
        "dtype": "uint8",
    }
    if kind == "GTiff":
        profile |= {"crs": crs, "transform": transform}
    with rasterio.Env(GDAL_PAM_ENABLED="NO"), MemoryFile() as file:
        with file.open(**profile) as dataset:
            dataset.write(np.full((bands, _SIDE, _SIDE), fill, np.uint8))
        return bytes(file.read())


_PLACES = st.tuples(
    st.sampled_from([1e-9, 1e-3, 0.5, 10.0, 1e4, 1e9]),
    st.sampled_from([0.0, 0.3, -7.0]),
    st.floats(-200, 200) | st.floats(-2e7, 2e7),
    st.floats(-100, 100) | st.floats(-2e7, 2e7),
)
_SOUND = st.builds(
    _image,
    st.sampled_from(_KINDS),
    st.sampled_from([1, 3]),
    st.sampled_from(_CRS),
    _PLACES,
    st.integers(0, 255),
)
_EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6)


def _altered(content: bytes, edits: list[tuple[float, int]], kept: float) -> bytes:
    """Return a file with some bytes replaced, most of them near its beginning, and cut off."""
    changed = bytearray(content)
    for place, value in edits:
        changed[int(place**3 * (len(changed) - 1))] = value
    return bytes(changed[: int(len(changed) * kept)])


_KEPT = st.just(1.0) | st.floats(0, 1)
_INPUTS = st.builds(_altered, _SOUND, _EDITS, _KEPT) | st.binary(max_size=300)


@contextmanager
def _prepared() -> Iterator[Callable[[bytes], None]]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.tif"
        config = EncodeConfig(source=folder, table="t", bundle="b", chip_size=8, pixels={"bands": (1, 1, 1)})
        chip_specs, store = chip_specs_of(config, InputSpec(size=8)), Store(StoreConfig())
        listed = pa.table({"uri": [str(path)], "etag": ["e"], "collection": ["c"]})

        def attempt(content: bytes) -> None:
            path.write_bytes(content)
            batches = read_objects(listed, chip_specs, store)
            rows = [row for batch in batches for row in batch.rows.to_pylist()]
            for row in rows:
                if str(row["detail"]).startswith("unforeseen"):
                    raise RuntimeError(row["detail"])  # what read_objects has kept to itself
                if row["outcome"] == CHIP:
                    check(0 <= row["valid_fraction"] <= 1, f"valid_fraction {row['valid_fraction']}")
                    _check_box(row["bbox"])
            check(bool(rows), "an object without an outcome")

        yield attempt


def _check_box(box: dict[str, float] | None) -> None:
    if box is None:
        return
    longitudes, latitudes = (box["xmin"], box["xmax"]), (box["ymin"], box["ymax"])
    check(all(-180 <= side <= 180 for side in longitudes), f"longitudes {longitudes}")
    check(-90 <= latitudes[0] <= latitudes[1] <= 90, f"latitudes {latitudes}")


TARGET = Target("rasters", _INPUTS, _prepared)
