"""Answers that aren't a success: how replicas return them, and how they become JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, RayServeException
from starlette.exceptions import HTTPException

from pipelines.api.answers import ErrorBody
from pipelines.api.requests import BAD_INTERVAL, CONTRADICTION
from pipelines.serve.prometheus import RequestMetrics

_MOST_DETAILS = 20  # faults of a request that are listed


@dataclass(frozen=True)
class Refusal:
    """Why a request gets no answer. Replicas return it: Ray would log an exception as their own failure."""

    status: int
    code: str
    message: str
    hint: str
    allow: str = ""
    """For a 405: the methods that the path has (RFC 9110, 15.5.6)"""

    @property
    def body(self) -> ErrorBody:
        """The response body."""
        return ErrorBody(code=self.code, message=self.message, hint=self.hint)


class RefusedRequest(HTTPException):
    """Carries a refusal out of a route; the app's handlers make it a response."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.status, refusal.message)
        self.refusal = refusal


QUEUE_FULL = Refusal(429, "queue_full", "the service has as much to do as it can", "try again in a moment")
NOT_READY = Refusal(503, "not_ready", "the service isn't ready to answer", "try again in a moment")


def respond(refusal: Refusal) -> JSONResponse:
    """Return the response for a refusal."""
    retry = {"Retry-After": "1"}
    headers = {401: {"WWW-Authenticate": "Bearer"}, 405: {"Allow": refusal.allow}, 429: retry, 503: retry}
    return JSONResponse(refusal.body.model_dump(), refusal.status, headers.get(refusal.status))


def add_handlers(app: FastAPI, metrics: RequestMetrics) -> None:
    """Make each error of the app an `ErrorBody`, and count it."""

    def handle(refusal_of: Callable[[Request, Any], Refusal]) -> Callable[[Request, Exception], JSONResponse]:
        def handler(request: Request, error: Exception) -> JSONResponse:
            refusal = refusal_of(request, error)
            metrics.refused(refusal.code)
            return respond(refusal)

        return handler

    app.add_exception_handler(HTTPException, handle(_of_http_error))
    app.add_exception_handler(RequestValidationError, handle(_of_invalid))
    for failure in (RayError, RayServeException):
        app.add_exception_handler(failure, handle(_of_replica_failure))
    for bug in (RayTaskError, Exception):  # RayTaskError: raised in the code of another deployment
        app.add_exception_handler(bug, handle(_of_bug))


def _of_http_error(request: Request, error: HTTPException) -> Refusal:
    if isinstance(error, RefusedRequest):
        return error.refusal
    code = {404: "no_such_path", 405: "wrong_method"}.get(error.status_code, "bad_request")
    message = f"{request.method} {request.url.path}: {error.detail}"
    allow = (error.headers or {}).get("Allow", "")
    allow = f"{allow}, HEAD" if "GET" in allow else allow  # see `HeadRequests`
    return Refusal(error.status_code, code, message, "see /openapi.json", allow)


def _of_invalid(request: Request, error: RequestValidationError) -> Refusal:  # noqa: ARG001
    details = error.errors()
    message = "; ".join(_explain(detail) for detail in details[:_MOST_DETAILS])
    kinds = {detail["type"] for detail in details}
    if any(detail["type"] == "json_invalid" and detail["loc"][0] == "body" for detail in details):
        return Refusal(400, "not_json", message, "send a JSON object as the body")
    for kind in (CONTRADICTION, BAD_INTERVAL):
        if kind in kinds:
            return Refusal(400, kind, message, "see SearchRequest in /openapi.json")
    return Refusal(422, "invalid", message, "correct the named fields; /openapi.json describes them")


def _of_replica_failure(request: Request, error: RayError | RayServeException) -> Refusal:  # noqa: ARG001
    return QUEUE_FULL if isinstance(error, BackPressureError) else NOT_READY


def _of_bug(request: Request, error: Exception) -> Refusal:  # noqa: ARG001 - Serve logs the traceback
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, BackPressureError):
        return QUEUE_FULL
    return Refusal(500, "internal", "the service failed on this request", "report it to its operator")


def _explain(detail: Mapping[str, object]) -> str:
    """Return what is wrong with one field, after the field's name."""
    location = detail["loc"]
    assert isinstance(location, tuple)  # noqa: S101
    field = ".".join(str(part) for part in location[1:])  # without the first part: body, query or path
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        message = "isn't supported"
    return f"{field}: {message}" if field else message
