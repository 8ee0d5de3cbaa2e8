"""Answers that aren't a success: how they travel between replicas, and how they end as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from starlette.exceptions import HTTPException

from pipelines.api import CONTRADICTION, ErrorBody


@dataclass(frozen=True)
class Refusal:
    """Why a request gets no answer. Replicas return it: an exception would be logged as their failure."""

    status: int
    code: str
    message: str
    hint: str


class RefusedRequest(HTTPException):
    """A refusal on its way out of a route."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.status, refusal.message)
        self.refusal = refusal


NOT_READY = Refusal(503, "not_ready", "the service isn't ready to answer", "try again in a moment")


def respond(refusal: Refusal) -> JSONResponse:
    """Return the response that tells a refusal."""
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(refusal.status)
    body = ErrorBody(code=refusal.code, message=refusal.message, hint=refusal.hint)
    return JSONResponse(body.model_dump(), refusal.status, headers)


def add_handlers(app: FastAPI) -> None:
    """Make every error of the app end as an `ErrorBody`."""
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    for failure in (RayError, RayServeException):
        app.add_exception_handler(failure, _on_replica_failure)
    for bug in (RayTaskError, Exception):  # the first: raised in another deployment's code
        app.add_exception_handler(bug, _on_bug)


def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RefusedRequest):
        return respond(error.refusal)
    assert isinstance(error, HTTPException)  # noqa: S101 - what this handler is registered for
    code = {404: "no_such_path", 405: "wrong_method"}.get(error.status_code, "bad_request")
    message = f"{request.method} {request.url.path}: {error.detail}"
    return respond(Refusal(error.status_code, code, message, "see /openapi.json"))


def _on_invalid(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    assert isinstance(error, RequestValidationError)  # noqa: S101
    details = error.errors()
    message = "; ".join(_explain(detail) for detail in details)
    kinds = {detail["type"] for detail in details}
    if "json_invalid" in kinds:
        return respond(Refusal(400, "not_json", message, "send a JSON object as the body"))
    if CONTRADICTION in kinds:
        return respond(Refusal(400, CONTRADICTION, message, "see SearchRequest in /openapi.json"))
    return respond(Refusal(422, "invalid", message, "correct the named fields; /openapi.json describes them"))


def _explain(detail: Mapping[str, object]) -> str:
    """Return what is wrong with one field, its name first."""
    location = detail["loc"]
    assert isinstance(location, tuple)  # noqa: S101
    field = ".".join(str(part) for part in location[1:])  # the first says body, query or path
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        message = "isn't supported"
    return f"{field}: {message}" if field else message


def _on_replica_failure(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001
    return respond(NOT_READY)


def _on_bug(request: Request, error: Exception) -> JSONResponse:  # noqa: ARG001 - Serve logs the traceback
    return respond(
        Refusal(500, "internal", "the service failed on this request", "report it to its operator")
    )
