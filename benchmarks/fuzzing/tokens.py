"""Page tokens: of other queries, altered, forged, or none at all."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields

from hypothesis import strategies as st

from benchmarks.fuzzing.target import Target, check
from pipelines.api.requests import SearchRequest
from pipelines.serve.cursor import Cursor, read_token, write_token
from pipelines.serve.refusals import RefusedRequest

_REQUEST = SearchRequest(code="0f" * 8, limit=10)
_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_JSON = st.recursive(
    _VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
_TOKEN = write_token(_REQUEST, 7, Cursor(10, 3, 0, "chip"))


def _encoded(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def _decoded(token: str) -> dict[str, object]:
    """Return what a token says; nothing where it is no plain JSON."""
    try:
        content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


_CONTENT = _decoded(_TOKEN)
_NAMES = sorted({*_CONTENT, *(field.name for field in fields(Cursor))})


_altered = st.dictionaries(st.sampled_from(_NAMES), _VALUES, max_size=3).map(
    lambda change: _encoded(_CONTENT | change)
)
_cut = st.tuples(st.integers(0, len(_TOKEN)), st.text(max_size=3)).map(
    lambda cut: _TOKEN[: cut[0]] + cut[1] + _TOKEN[cut[0] + 1 :]
)
_INPUTS = st.text(max_size=300) | _JSON.map(_encoded) | _altered | _cut


@contextmanager
def _prepared() -> Iterator[Callable[[str], None]]:
    def attempt(token: str) -> None:
        try:
            request = SearchRequest.model_validate(_REQUEST.model_dump(exclude_none=True) | {"token": token})
            version, cursor = read_token(request)
        except (RefusedRequest, ValueError):  # a ValidationError is one
            return
        check(type(version) is int and version >= 0, f"version {version}")
        check(cursor.returned > 0, f"the cursor {asdict(cursor)}")

    yield attempt


TARGET = Target("tokens", _INPUTS, _prepared)
