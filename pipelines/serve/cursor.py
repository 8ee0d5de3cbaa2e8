"""Where a page begins, and the token that says so: it holds the query and the snapshot to what they were."""

import base64
import hashlib
import json
from dataclasses import asdict, dataclass

from pipelines.api.requests import SearchRequest
from pipelines.serve.refusals import Refusal, RefusedRequest

_NOT_THE_QUERY = {"token", "limit", "snapshot", "model_id"}  # they may differ from page to page
_MOST_RETURNED = (1 << 32) - 1  # rows of a table that its index can number
_FARTHEST = 1e9  # NaN and infinity aren't within it either
BAD_TOKEN = Refusal(
    400, "bad_token", "the token isn't of this query", "send the query as it was, or leave the token out"
)


@dataclass(frozen=True)
class Cursor:
    """The chip that ended the page before."""

    returned: int = 0
    """How many chips the pages so far have had"""
    distance: float = 0
    tie: float = 0
    """What it was ordered by among chips at the same distance, before its id"""
    chip_id: str = ""
    table_id: str = ""
    """Delta's id of the table that it is of: versions of another one begin anew"""


START = Cursor()


def write_token(request: SearchRequest, version: int, cursor: Cursor) -> str:
    """Return the token of the page after ``cursor``."""
    content = {"snapshot": version, "query": _digest(request), **asdict(cursor)}
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def read_token(request: SearchRequest) -> tuple[int, Cursor]:
    """Return the snapshot's version and the cursor that a request's token stands for.

    Raises RefusedRequest where it isn't one, or belongs to another query or snapshot. Whether so many chips
    have been returned is known where the page is made: `pipelines.serve.search`.
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
            and len(cursor.chip_id.encode()) > 0  # half a surrogate pair is no text
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
