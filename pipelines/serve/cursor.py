"""Where a page begins, and the token that encodes it. A token is valid only for its query and snapshot."""

import base64
import hashlib
import json
from dataclasses import asdict, dataclass

from pipelines.api.requests import SearchRequest
from pipelines.serve.refusals import Refusal, RefusedRequest

_NOT_THE_QUERY = {
    "token",
    "limit",
    "snapshot",
    "model_id",
    "format",
    "fields",
}  # fields that may differ from page to page
_MOST_RETURNED = (1 << 32) - 1  # most rows of an index
_FARTHEST = 1e9  # this limit also refuses NaN and infinity
BAD_TOKEN = Refusal(
    400, "bad_token", "the token isn't of this query", "send the query as it was, or leave the token out"
)


@dataclass(frozen=True)
class Cursor:
    """The last chip of the page before."""

    returned: int = 0
    """How many chips the pages so far had"""
    distance: float = 0
    tie: float = 0
    """The second sort key, after ``distance`` and before ``chip_id``"""
    chip_id: str = ""
    table_id: str = ""
    """Delta Lake's id of the table, because a table that is made anew counts its versions from 0 again"""


START = Cursor()


def write_token(request: SearchRequest, version: int, cursor: Cursor) -> str:
    """Return the token for the page after ``cursor``."""
    content = {"snapshot": version, "query": _digest(request), **asdict(cursor)}
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def read_token(request: SearchRequest) -> tuple[int, Cursor]:
    """Return the version of the table and the cursor in a request's token.

    Raises RefusedRequest if it isn't a token of ours, or belongs to another query or snapshot. Whether
    ``returned`` is right is checked later, in `pipelines.serve.search`, when the page is made.
    """
    token = request.token or ""
    try:
        content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        version, digest = content.pop("snapshot"), content.pop("query")
        cursor = Cursor(**content)
        sound = (
            type(version) is int
            and version >= 0
            and digest == _digest(request)
            and type(cursor.returned) is int
            and 0 < cursor.returned <= _MOST_RETURNED
            and isinstance(cursor.distance, int | float)
            and isinstance(cursor.tie, int | float)
            and abs(cursor.distance) <= _FARTHEST
            and abs(cursor.tie) <= _FARTHEST
            and len(cursor.chip_id.encode()) > 0  # raises for half a surrogate pair
            and isinstance(cursor.table_id, str)
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RefusedRequest(BAD_TOKEN) from error
    if not sound or request.snapshot not in (None, version):
        raise RefusedRequest(BAD_TOKEN)
    return version, cursor


def _digest(request: SearchRequest) -> str:
    query = request.model_dump_json(exclude=_NOT_THE_QUERY, exclude_none=True)
    return hashlib.sha256(query.encode()).hexdigest()[:16]
