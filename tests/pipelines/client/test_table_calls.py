"""The call for the page after a table: it stays with the service, whatever the link says."""

import json
from typing import Any

import pyarrow as pa
import pytest

from pipelines.client import HereParameters, ImageLimits, SearchRequest
from pipelines.client.table_calls import image_table, next_table, table
from pipelines.errors import QueryError


def page(*links: dict[str, Any]) -> pa.Table:
    return pa.table({"id": ["a"]}).replace_schema_metadata({"scenehash": json.dumps({"links": links})})


@pytest.mark.parametrize("href", ["https://elsewhere.example/v1/chips", "//elsewhere.example/v1", "v1/chips"])
def test_a_link_that_leads_elsewhere_is_not_followed(href: str) -> None:
    link = {"rel": "next", "method": "GET", "href": href}
    with pytest.raises(QueryError, match="leads nowhere"):
        next_table(page(link), table(HereParameters(bbox=(0, 0, 1, 1))))


def test_where_there_is_no_next_page() -> None:
    assert next_table(page(), table(SearchRequest(point=(1, 2)))) is None


def test_the_next_page_of_an_image_sends_no_image() -> None:
    link = {"rel": "next", "method": "POST", "href": "/v1/search", "merge": False, "body": {"code": "00"}}
    following = next_table(page(link), image_table(b"an image", ImageLimits(k=3)))
    assert following is not None
    assert (following.path, following.json, following.content, following.params) == (
        *("/v1/search", {"code": "00"}),
        *(None, None),
    )


def test_pages_are_large_unless_a_limit_is_given() -> None:
    whole = table(HereParameters(bbox=(0, 0, 1, 1), snapshot=4))
    assert whole.params == {"bbox": "0.0,0.0,1.0,1.0", "snapshot": 4, "limit": 2000}
    assert table(SearchRequest(point=(1, 2), limit=25)).json == {"point": [1.0, 2.0], "limit": 25}
    assert table(SearchRequest(point=(1, 2))).json == {"point": [1.0, 2.0], "limit": 10_000}
