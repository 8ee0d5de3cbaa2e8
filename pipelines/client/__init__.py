"""The query service from Python: `Client`, or `AsyncClient` where the caller is asynchronous.

    with Client("http://127.0.0.1:8000", key) as client:
        for page in client.pages(SearchRequest(point=(-62.2, -3.1), max_distance=8)):
            for match in page.features:
                print(match.properties.distance, match.id)

An answer is GeoJSON (RFC 7946) once dumped, with the chips' ids beside their properties:

    frame = geopandas.GeoDataFrame.from_features(answer.model_dump(mode="json"), crs="EPSG:4326")
    frame.index = [match.id for match in answer.features]
"""

from pipelines.api.requests import ImageLimits, SearchLimits, SearchRequest
from pipelines.client.asynchronous import AsyncClient
from pipelines.client.synchronous import Client

__all__ = ["AsyncClient", "Client", "ImageLimits", "SearchLimits", "SearchRequest"]
