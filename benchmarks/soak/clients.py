"""Clients of the service: they ask at a steady rate, and each answer is compared with the oracle's.

A client asks again as the product's own library does (`pipelines.client.retries`). What then is no answer is
"busy" (429 or 503 that says when to ask again), lost, or an error.
"""

import asyncio
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
from PIL import Image
from pydantic import ValidationError
from tenacity import AsyncRetrying

from benchmarks.soak.archive import Archive
from benchmarks.soak.background import in_background
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.oracle import Oracle, expected, fault_of
from benchmarks.soak.questions import MOST_PAGES, Question, Questions
from benchmarks.soak.watches import WATCHES, Hit, plain
from pipelines.api.answers import ErrorBody
from pipelines.api.watches import HitsAnswer
from pipelines.client.connection import settings
from pipelines.client.retries import Reply, retry_options

RATE = 50.0
"""Requests a second of all clients together."""
_CLIENTS = 64
_TIMEOUT_SECONDS = 60.0
_PATIENCE_SECONDS = 15.0
_IDLE_SECONDS = 2.0  # connections are closed by clients, before a server does it beside a request
_GATEWAY = (404, 500, 502, 503, 504)

Ended = Literal["answered", "busy", "lost", "refused"]


class Clients:
    """Many clients in a thread, until they are stopped."""

    def __init__(
        self, url: str, key: str, questions: Questions, archive: Archive, oracle: Oracle, ledger: Ledger
    ) -> None:
        self.hits: dict[str, set[Hit]] = {}
        """All hits that were answered, by the watch's name."""
        self._url, self._key, self._questions = url, key, questions
        self._archive, self._oracle, self._ledger = archive, oracle, ledger
        self._next = 0.0
        self._stop = threading.Event()
        self._failure: BaseException | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the clients ask while the context lasts. Raises what a client failed with."""
        with in_background("clients", self._run, self._stop):
            yield
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as error:  # noqa: BLE001 - raised where the clients are waited for
            self._failure = error

    async def _all(self) -> None:
        limits = httpx.Limits(
            max_connections=_CLIENTS, max_keepalive_connections=_CLIENTS, keepalive_expiry=_IDLE_SECONDS
        )
        options = settings(self._url, self._key, _TIMEOUT_SECONDS)
        async with httpx.AsyncClient(**options, limits=limits) as http:
            await asyncio.gather(*(self._client(http) for _ in range(_CLIENTS)))

    async def _client(self, http: httpx.AsyncClient) -> None:
        while not self._stop.is_set():
            question = self._questions.draw()
            if question.kind == "hits":
                await self._hits(http)
                continue
            answer = await self._search(http, question, question.query, 0)
            if answer is not None and question.kind == "pages":
                await self._turn_pages(http, question, answer)
            if answer is not None and question.kind == "picture" and answer["features"]:
                await self._picture(http, answer["features"][-1])

    async def _turn_pages(self, http: httpx.AsyncClient, question: Question, answer: dict[str, Any]) -> None:
        snapshot, page = answer["search"]["snapshot"], answer
        for number in range(1, MOST_PAGES):
            if not page["links"]:
                return
            body = {**question.query, **page["links"][0]["body"]}
            following = await self._search(http, question, body, number * question.limit)
            if following is None:
                return
            if following["search"]["snapshot"] != snapshot:
                self._ledger.harm("wrong_answers", what="pages of two snapshots", query=question.query)
            page = following

    async def _search(
        self, http: httpx.AsyncClient, question: Question, body: dict[str, Any], first: int
    ) -> dict[str, Any] | None:
        """Return the answer, after it was compared; None if there is none. ``first``: chips before it."""
        request = http.build_request("POST", "/v1/search", json=body)
        response = await self._send(http, request)
        if response is None:
            return None
        if not response.is_success:
            self._unexplained(response)
            return None
        answer: dict[str, Any] = response.json()
        fault = await asyncio.to_thread(self._fault, question, answer, first)
        if fault:
            about = answer["search"]
            self._ledger.harm("wrong_answers", what=fault, query=body, first=first, about=about)
        return answer

    def _fault(self, question: Question, answer: dict[str, Any], first: int) -> str | None:
        about = answer["search"]
        version = self._oracle.version(about["snapshot"], about["model_id"])
        if version is None:
            return f"version {about['snapshot']} of {about['model_id']} was never published"
        right = expected(version, question.query)
        if right is None:
            return f"version {about['snapshot']} doesn't have the chip that was asked with"
        return fault_of(answer, right, version, first, question.limit)

    async def _picture(self, http: httpx.AsyncClient, feature: dict[str, Any]) -> None:
        """Look at the picture of a chip that was found; compare its pixels with those that were encoded."""
        link = urlsplit(feature["assets"]["thumbnail"]["href"])
        request = http.build_request(
            "GET", link.path, params=parse_qs(link.query), headers={"Accept": "image/png"}
        )
        response = await self._send(http, request)
        if response is None:
            return
        about = feature["properties"]
        uri, etag, window = about["uri"], about["etag"], tuple(about["window"])
        if response.is_success:
            wanted_HWC = self._archive.pixels(uri, etag, window)
            found_HWC = np.asarray(Image.open(io.BytesIO(response.content)))
            if wanted_HWC is None or not np.array_equal(found_HWC, wanted_HWC):
                self._ledger.harm("wrong_answers", what="other pixels", uri=uri, etag=etag, window=window)
        elif response.status_code not in (404, 409) or self._archive.is_still(uri, etag):
            self._unexplained(response)  # the object is still what it was

    async def _hits(self, http: httpx.AsyncClient) -> None:
        """Ask for the newest hits of each watch. Whether they are hits is known once the nights are over."""
        for name in WATCHES:
            response = await self._send(http, http.build_request("GET", f"/v1/watches/{name}/hits"))
            if response is None:
                continue
            if not response.is_success:
                self._unexplained(response)
                continue
            answer = HitsAnswer.model_validate_json(response.content)
            self.hits.setdefault(name, set()).update(map(plain, answer.features))

    def _unexplained(self, response: httpx.Response) -> None:
        self._ledger.harm(
            "unexplained_errors",
            status=response.status_code,
            body=response.text[:500],
            request=f"{response.request.method} {response.request.url}",
            asked=response.request.content.decode(errors="replace")[:500],
        )

    async def _send(self, http: httpx.AsyncClient, request: httpx.Request) -> httpx.Response | None:
        """Send a request when its turn comes; return an answer or a refusal, None if there is neither."""
        self._next = max(self._next + 1 / RATE, time.monotonic())
        await asyncio.sleep(self._next - time.monotonic())
        began = time.monotonic()
        reply: Reply = await AsyncRetrying(**retry_options(_PATIENCE_SECONDS))(self._once, http, request)
        ended = ended_as(reply)
        self._ledger.ended(ended)
        if ended == "lost" and not self._ledger.explains_loss(began, time.monotonic(), for_good=True):
            self._harm_of_loss(reply, "lost for good", began)
        return reply if isinstance(reply, httpx.Response) and ended in ("answered", "refused") else None

    async def _once(self, http: httpx.AsyncClient, request: httpx.Request) -> Reply:
        sent = time.monotonic()
        reply: Reply
        try:
            reply = await http.send(request)
        except httpx.RequestError as error:
            reply = error
        if ended_as(reply) == "lost" and not self._ledger.explains_loss(sent, time.monotonic()):
            self._harm_of_loss(reply, "lost", sent)
        return reply

    def _harm_of_loss(self, reply: Reply, what: str, sent: float) -> None:
        why = repr(reply)
        if isinstance(reply, httpx.Response):
            why = f"{reply.status_code}: {reply.text[:300]}"
        seconds = round(time.monotonic() - sent, 2)
        self._ledger.harm("unexplained_errors", what=what, why=why, url=str(reply.request.url), after=seconds)


def ended_as(reply: Reply) -> Ended:
    """Return how one try of a request ended."""
    if isinstance(reply, httpx.RequestError):
        return "lost"
    if reply.is_success:
        return "answered"
    if reply.status_code in (429, 503) and "Retry-After" in reply.headers:
        return "busy"
    if reply.status_code in _GATEWAY:
        try:
            ErrorBody.model_validate_json(reply.content)
        except ValidationError:
            return "lost"  # a proxy has answered, not the service
    return "refused"
