"""Small PMTiles archives: base maps for a service."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image
from pmtiles.tile import Compression, TileType, zxy_to_tileid
from pmtiles.writer import Writer

from tests.pipelines.serve.conftest import Archive

PLACE = 112.5, -76.0
"""Longitude and latitude of the middle of what the pictures show: nothing of the archive is near."""


def pmtiles(content: bytes, kind: TileType, metadata: Mapping[str, Any]) -> bytes:
    """An archive with one tile, of the whole world."""
    file = io.BytesIO()
    writer = Writer(file)
    writer.write_tile(zxy_to_tileid(0, 0, 0), content)
    header = {"tile_type": kind, "tile_compression": Compression.NONE, "min_zoom": 0, "max_zoom": 0}
    edges = {"min_lon_e7": -180e7, "max_lon_e7": 180e7, "min_lat_e7": -85e7, "max_lat_e7": 85e7}
    centre = {"center_zoom": 0, "center_lon_e7": 0, "center_lat_e7": 0}
    writer.finalize(header | {name: int(edge) for name, edge in edges.items()} | centre, dict(metadata))
    return file.getvalue()


def picture() -> bytes:
    """A tile that is empty but for a square around `PLACE`."""
    tile = np.zeros((256, 256, 4), np.uint8)
    tile[208:224, 200:216] = (255, 0, 255, 255)
    file = io.BytesIO()
    Image.fromarray(tile).save(file, "PNG")
    return file.getvalue()


def put_pictures(archive: Archive) -> str:
    """Store a base map of pictures beside an archive; return where it is."""
    uri = f"{archive.root}/base_map.pmtiles"
    attribution = {"attribution": "Surveyors & <b>Sons</b>"}
    archive.store.write(uri, pmtiles(picture(), TileType.PNG, attribution))
    return uri
