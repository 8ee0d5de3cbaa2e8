"""Checks the address and the key of a client, before anything is sent."""

from typing import TypedDict

import httpx

from pipelines.errors import QueryError


class Settings(TypedDict):
    """Arguments of httpx.Client and httpx.AsyncClient."""

    base_url: httpx.URL
    headers: dict[str, str]
    timeout: float


def settings(base_url: str, key: str | None, timeout: float) -> Settings:
    """Return the settings for httpx. Raises QueryError if address or key aren't valid."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise QueryError(f"{base_url!r} is no address: {error}", "name one like http://host:8000") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise QueryError(f"{base_url!r} is no address of a query service", "name one like http://host:8000")
    if key is not None and not (key.isascii() and key.isprintable() and key == key.strip()):
        raise QueryError("the key can't be sent: it holds a blank, a line end or the like", "check the key")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return Settings(base_url=url, headers=headers, timeout=timeout)
