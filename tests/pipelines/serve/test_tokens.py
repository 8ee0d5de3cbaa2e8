"""Tokens that the service did not write: each is refused, none is a failure or reads more than it should."""

import base64
import json

import httpx
import pytest

from pipelines.api.requests import SearchRequest
from pipelines.serve.cursor import Cursor, read_token, write_token
from pipelines.serve.refusals import RefusedRequest
from tests.pipelines.serve.conftest import Archive


def parts_of(token: str) -> dict[str, object]:
    content: dict[str, object] = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    return content


def token_of(parts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


FORGED = [
    {"returned": 10**30},
    {"returned": 10**9},
    {"returned": 2**63},
    {"returned": 2**32},
    {"returned": 63},
    {"returned": 4},
    {"returned": 0},
    {"returned": -5},
    {"returned": True},
    {"returned": 5.0},
    {"distance": 10**400},
    {"distance": float("inf")},
    {"distance": float("nan")},
    {"distance": -1},
    {"distance": 10**9},
    {"distance": "3"},
    {"chip_id": ""},
    {"chip_id": None},
    {"chip_id": "\ud800"},
    {"snapshot": 10**30},
    {"snapshot": True},
    {"snapshot": -1},
    {"query": "another"},
    {"more": 1},
]


@pytest.mark.parametrize("limits", [{"max_distance": 32}, {"k": 40}])
@pytest.mark.parametrize("forged", FORGED, ids=str)
def test_forged_tokens_are_refused(
    archive: Archive, http: httpx.Client, limits: dict[str, int], forged: dict[str, object]
) -> None:
    query = {"chip_ids": [archive.ids()[0]], "limit": 5} | limits
    page = http.post("/v1/search", json=query).json()
    token = page["links"][0]["body"]["token"]
    assert http.post("/v1/search", json=query | {"token": token}).status_code == 200
    bad = token_of(parts_of(token) | forged)
    answer = http.post("/v1/search", json=query | {"token": bad})
    # only of a well-formed token is the snapshot looked for
    status, code = (410, "not_kept") if forged == {"snapshot": 10**30} else (400, "bad_token")
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    batch = http.post("/v1/search/batch", json={"queries": [query | {"token": bad}]})
    assert batch.status_code in (200, 410)  # of a snapshot that isn't kept the whole batch


@pytest.mark.parametrize(
    "forged", [{"chip_id": "\ud800"}, {"chip_id": ""}, {"chip_id": 5}, {"snapshot": -1}], ids=str
)
def test_what_no_page_says_is_refused_before_any_search(forged: dict[str, object]) -> None:
    request = SearchRequest(code="0f" * 8, limit=10)
    token = write_token(request, 7, Cursor(10, 3, 0, "chip"))
    assert read_token(request.model_copy(update={"token": token})) == (7, Cursor(10, 3, 0, "chip"))
    bad = token_of(parts_of(token) | forged)
    with pytest.raises(RefusedRequest):
        read_token(request.model_copy(update={"token": bad}))


@pytest.mark.parametrize("parts", [[], None, 5, "x", {}, {"snapshot": 1}])
def test_tokens_of_another_form(archive: Archive, http: httpx.Client, parts: object) -> None:
    query = {"chip_ids": [archive.ids()[0]], "token": token_of(parts)}
    assert http.post("/v1/search", json=query).json()["code"] == "bad_token"


def test_a_bad_token_costs_its_own_query_only(archive: Archive, http: httpx.Client) -> None:
    query = {"chip_ids": [archive.ids()[0]], "limit": 5, "max_distance": 32}
    token = http.post("/v1/search", json=query).json()["links"][0]["body"]["token"]
    bad = query | {"token": token_of(parts_of(token) | {"returned": 50})}
    answers = http.post("/v1/search/batch", json={"queries": [query, bad]}).json()["answers"]
    assert answers[0]["numberReturned"] == 5
    assert answers[1]["code"] == "bad_token"
