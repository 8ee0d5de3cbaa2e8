"""The query service from Python."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from pipelines.api.answers import Chip, EncodeAnswer, ErrorBody, SearchAnswer, SnapshotInfo
from pipelines.errors import QueryError

Answer = TypeVar("Answer", bound=BaseModel)


class Client:
    """A connection to one query service; close it, or use it in a ``with`` block.

    Every method raises QueryError with the service's own message and hint, or where it can't be reached.
    """

    def __init__(self, base_url: str, key: str | None = None, timeout: float = 30.0) -> None:
        """Connect to ``base_url``, e.g. http://127.0.0.1:8000; ``timeout`` of a request in seconds."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def search(
        self,
        *,
        chip_id: str | None = None,
        code: str | None = None,
        point: tuple[float, float] | None = None,
        k: int | None = None,
        max_distance: int | None = None,
        exclude_self: bool | None = None,
        model_id: str | None = None,
    ) -> SearchAnswer:
        """Find the chips most like an example: a chip id, a code in hex, or (longitude, latitude).

        ``k`` nearest (10 by default, up to 10000), or all within ``max_distance`` bits, or both.
        """
        body = {
            "chip_ids": None if chip_id is None else [chip_id],
            "code": code,
            "point": point,
            "exclude_self": exclude_self,
        } | _limits(k, max_distance, model_id)
        given = {name: value for name, value in body.items() if value is not None}
        return _parse(SearchAnswer, self._send("POST", "/v1/search", json=given))

    def search_image(
        self,
        content: bytes,
        *,
        k: int | None = None,
        max_distance: int | None = None,
        model_id: str | None = None,
    ) -> SearchAnswer:
        """Find the chips most like an image: the bytes of a JPEG, PNG, JPEG 2000 or GeoTIFF."""
        limits = _limits(k, max_distance, model_id)
        return _parse(SearchAnswer, self._send("POST", "/v1/search/image", params=limits, content=content))

    def encode(self, content: bytes) -> EncodeAnswer:
        """Return an image's code."""
        return _parse(EncodeAnswer, self._send("POST", "/v1/encode", content=content))

    def chip(self, chip_id: str) -> Chip:
        """Return one chip."""
        return _parse(Chip, self._send("GET", f"/v1/chips/{quote(chip_id, safe='')}"))

    def thumbnail(self, chip_id: str) -> bytes:
        """Return one chip's pixels as PNG."""
        return self._send("GET", f"/v1/chips/{quote(chip_id, safe='')}/thumbnail").content

    def snapshot(self) -> SnapshotInfo:
        """Return what is being served."""
        return _parse(SnapshotInfo, self._send("GET", "/v1/snapshot"))

    def _send(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, object] | None = None,
        params: Mapping[str, str | int] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        try:
            response = self._http.request(method, path, json=json, params=params, content=content)
        except httpx.HTTPError as error:
            raise QueryError(
                f"no answer from {self._http.base_url}: {error}; is jobs.serve running?"
            ) from error
        if response.is_success:
            return response
        try:
            refusal = ErrorBody.model_validate_json(response.content)
        except ValidationError as error:
            message = f"{self._http.base_url} answers {response.status_code}, not as a query service would"
            raise QueryError(message) from error
        raise QueryError(f"{refusal.message} ({refusal.code}, {response.status_code}); {refusal.hint}")


def _limits(k: int | None, max_distance: int | None, model_id: str | None) -> dict[str, str | int]:
    limits = {"k": k, "max_distance": max_distance, "model_id": model_id}
    return {name: value for name, value in limits.items() if value is not None}


def _parse(kind: type[Answer], response: httpx.Response) -> Answer:
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise QueryError(f"{response.url} answers something else than {kind.__name__}") from error
