"""The query service from Python: `Client`, or `AsyncClient` for asyncio.

    with Client("http://127.0.0.1:8000", key) as client:
        for page in client.pages(SearchRequest(point=(-62.2, -3.1), max_distance=8)):
            for match in page.features:
                print(match.properties.distance, match.id)

An answer is dumped as GeoJSON (RFC 7946). The chips' ids stand beside their properties, so set them:

    frame = geopandas.GeoDataFrame.from_features(answer.model_dump(mode="json"), crs="EPSG:4326")
    frame.index = [match.id for match in answer.features]
"""

from pipelines.api.requests import ImageLimits, SearchLimits, SearchRequest
from pipelines.client.asynchronous import AsyncClient
from pipelines.client.synchronous import Client

__all__ = ["AsyncClient", "Client", "ImageLimits", "SearchLimits", "SearchRequest"]
