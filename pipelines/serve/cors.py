"""Which pages of other origins may ask the service from a browser: none by default.

Source: CORS protocol, Fetch standard, 3.3.
"""

from collections.abc import Sequence
from typing import Any

_HEADERS = ("Authorization", "Content-Type", "Content-Encoding", "X-Request-ID")
_EXPOSED = ("Retry-After", "X-Request-ID", "ETag")
_REMEMBERED = 3600  # seconds that a browser needn't ask again


def cors_options(origins: Sequence[str]) -> dict[str, Any]:
    """Return the options of Starlette's CORSMiddleware that let pages of these origins use every route."""
    return {
        "allow_origins": list(origins),
        "allow_methods": ["GET", "HEAD", "POST"],
        "allow_headers": list(_HEADERS),
        "expose_headers": list(_EXPOSED),
        "max_age": _REMEMBERED,
    }
