"""The query service from Python: `Client`, or `AsyncClient` for asyncio.

    with Client("http://127.0.0.1:8000", key) as client:
        for page in client.pages(SearchRequest(point=(-62.2, -3.1), max_distance=8)):
            for match in page.features:
                print(match.properties.distance, match.id)

    frame = client.frame(SearchRequest(point=(-62.2, -3.1), max_distance=8))  # a GeoDataFrame, all pages
    lies_here = client.frame(HereParameters(bbox=(-63, -4, -61, -2)))

`frame` needs geopandas (`pip install scenehash[frame]`); `table` gives the same as an Arrow table.
"""

from pipelines.api.explore import (
    ChangesRequest,
    CoverageParameters,
    DatesParameters,
    GridRequest,
    HereParameters,
)
from pipelines.api.fields import Fields
from pipelines.api.requests import ImageLimits, SearchLimits, SearchRequest
from pipelines.api.watches import HitsParameters
from pipelines.client.asynchronous import AsyncClient
from pipelines.client.synchronous import Client

__all__ = [
    "AsyncClient",
    "ChangesRequest",
    "Client",
    "CoverageParameters",
    "DatesParameters",
    "Fields",
    "GridRequest",
    "HereParameters",
    "HitsParameters",
    "ImageLimits",
    "SearchLimits",
    "SearchRequest",
]
