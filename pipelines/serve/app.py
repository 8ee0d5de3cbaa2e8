"""The HTTP ingress: FastAPI routes over the deployments."""

import asyncio
import gc
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from ray.serve.handle import DeploymentHandle
from starlette.middleware.cors import CORSMiddleware

from pipelines.api.answers import (
    EncodeAnswer,
    ErrorBody,
    SnapshotInfo,
    Status,
)
from pipelines.api.answers_by_form import AnyAnswer, AnyBatchAnswer
from pipelines.api.pictures import FORMATS, PictureParameters, accepted_format
from pipelines.api.requests import BatchRequest, ImageParameters, SearchRequest
from pipelines.runtime.logs import gather_logs
from pipelines.serve.access import AccessMiddleware
from pipelines.serve.base_map import BaseMap, BaseMapRoutes
from pipelines.serve.bodies import SEARCH_BODY, parse_search, with_hint
from pipelines.serve.config import ServeConfig
from pipelines.serve.explore_routes import ChipId, ExploreRoutes
from pipelines.serve.fanout import Shards
from pipelines.serve.media import MediaType, media_type
from pipelines.serve.merge import snapshot_info, status_of
from pipelines.serve.middleware import HeadRequests, PlainRoute, cors_options
from pipelines.serve.page import Page
from pipelines.serve.picture_form import ChipSource, PictureForm
from pipelines.serve.pictures import Pictures
from pipelines.serve.prometheus import RequestMetrics
from pipelines.serve.question import Encoded
from pipelines.serve.refusals import NOT_READY, QUEUE_FULL, Refusal, RefusedRequest, add_handlers
from pipelines.serve.rendering import forms, in_form, respond, respond_batch
from pipelines.serve.search import no_such_chip, search, search_batch
from pipelines.serve.shard import Shard
from pipelines.serve.shard_calls import LocalShard, RemoteShard
from pipelines.serve.watch_routes import WatchRoutes
from pipelines.serve.watches import Watches
from pipelines.serve.web_page import add_page
from pipelines.table.row_ranges import RowRange

if TYPE_CHECKING:
    from pipelines.serve.query_encoder import Encoder

Answer = TypeVar("Answer")

_BINARY = {"type": "string", "format": "binary"}
# with content: otherwise FastAPI would document errors with the success media type
_ERROR_CONTENT = {"application/json": {"schema": {"$ref": f"#/components/schemas/{ErrorBody.__name__}"}}}
_ERRORS: dict[int | str, dict[str, object]] = {
    "default": {"description": "What was wrong", "content": _ERROR_CONTENT}
}
_PICTURES: dict[int | str, dict[str, object]] = {
    200: {"description": "The picture", "content": {kind: {"schema": _BINARY} for kind in FORMATS}},
    304: {"description": "The picture that If-None-Match names is still the right one"},
}
_FOR_EVER = "private, max-age=31536000, immutable"
_IMAGE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": _BINARY} for kind in ("image/jpeg", "image/png", "image/tiff", "image/jp2")
        },
    }
}


class Ingress:
    """The routes: each checks its request, calls the deployments, and writes the answer."""

    def __init__(
        self,
        config: ServeConfig,
        shards: list[DeploymentHandle[Shard]],
        encoder: "DeploymentHandle[Encoder]",
        pictures: DeploymentHandle[Pictures],
    ) -> None:
        """Prepare what the routes need. If ``shards`` is empty, load the whole table in this process.

        Raises what `Shard` raises.
        """
        gather_logs()
        self._config, self._encoder, self._pictures = config, encoder, pictures
        self._waiting_pictures = asyncio.Semaphore(max(1, config.max_requests // 2))
        if shards:
            self._shards = Shards([RemoteShard(shard) for shard in shards])
        else:
            self._shards = Shards([LocalShard(Shard(config, RowRange(0, 1)))])
        self._watches = Watches.of(config)
        self._base_map = BaseMap.of(config)
        self._metrics = RequestMetrics()

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the app. Ray Serve calls this in each replica."""
        app = self._described()
        app.router.routes.insert(0, PlainRoute("/v1/search", self.search, methods=["POST"]))
        app.add_middleware(HeadRequests)
        app.add_middleware(AccessMiddleware, config=self._config, metrics=self._metrics)
        if self._config.cors_origins:  # outermost: a preflight request carries no API key
            app.add_middleware(CORSMiddleware, **cors_options(self._config.cors_origins))
        add_handlers(app, self._metrics)
        add_page(app.router, wanted=self._config.page)
        gc.freeze()  # or each full garbage collection stops all requests for tenths of a second
        return app

    def _described(self) -> FastAPI:
        """Return an app with the routes that `/openapi.json` describes."""
        summary = "Search a satellite image archive by example"
        # /docs is a part of the page: FastAPI's own would be loaded from another host
        app = FastAPI(title="Scenehash", summary=summary, version="1", docs_url=None, redoc_url=None)
        app.include_router(self._routes())
        return app

    def _routes(self) -> APIRouter:
        router = APIRouter(responses=_ERRORS)
        post, get = router.post, router.get
        in_forms = forms("ColumnsAnswer")
        post("/v1/search", response_model=AnyAnswer, openapi_extra=SEARCH_BODY, **in_forms)(self.search)
        post(
            "/v1/search/image", response_model=AnyAnswer, openapi_extra=_IMAGE_BODY, **forms("ColumnsAnswer")
        )(self.search_image)
        post("/v1/search/batch", response_model=AnyBatchAnswer)(self.search_batch)
        ExploreRoutes(self._shards).add_to(router)
        WatchRoutes(self._watches).add_to(router)
        BaseMapRoutes(self._base_map).add_to(router)
        get("/v1/chips/{chip_id}/thumbnail", response_class=Response, responses=_PICTURES)(self.thumbnail)
        post("/v1/encode", openapi_extra=_IMAGE_BODY)(self.encode)
        get("/v1/snapshot")(self.snapshot)
        get("/v1/status")(self.status)
        get("/healthz")(self.healthz)
        get("/readyz")(self.readyz)
        return router

    async def search(self, request: Request) -> Response:
        """Find the chips most like examples of the table, a code, or the chip at a point."""
        query = parse_search(await request.body())
        kind = media_type(request.headers)
        return await self._respond(await search(self._shards, in_form(query, kind)), kind, request)

    async def search_image(self, request: Request, limits: Annotated[ImageParameters, Query()]) -> Response:
        """Find the chips most like an uploaded image. The body is the raw bytes of the image."""
        kind = media_type(request.headers)
        encoded = await self._encoded(request)
        if limits.model_id not in (None, encoded.model_id):
            message = f"images are encoded with {encoded.model_id}, not {limits.model_id}"
            raise RefusedRequest(Refusal(409, "other_model", message, "leave model_id out, or name that one"))
        given = limits.model_dump(exclude_unset=True, exclude={"rank_by"})
        given |= {"model_id": encoded.model_id, "code": encoded.code.hex()}
        if limits.rank_by == "values":
            given["bit_weights"] = encoded.bit_weights
        try:
            query = SearchRequest.model_validate(given)
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error
        page = await search(self._shards, in_form(query, kind), encoded.model_id)
        return await self._respond(page, kind, request)

    async def search_batch(self, request: Request, batch: BatchRequest) -> Response:
        """Answer several searches, in order and from one snapshot."""
        answers = await search_batch(self._shards, batch.queries)
        for answer in answers:
            if not isinstance(answer, Refusal):
                self._count(answer)
        return await respond_batch(answers, request)

    async def thumbnail(
        self, request: Request, chip_id: ChipId, asked: Annotated[PictureParameters, Query()]
    ) -> Response:
        """Return a picture of one chip, in a format that the header Accept takes; PNG if it takes any."""
        found = await self._shards.chip_source(chip_id, asked.version)
        source: ChipSource = _or_raise(found or no_such_chip(chip_id))
        media_type = accepted_format(request.headers.get("accept"))
        if media_type is None:
            message = f"Accept takes none of {', '.join(FORMATS)}"
            raise RefusedRequest(Refusal(406, "not_acceptable", message, "accept one of these, or any type"))
        form, version = PictureForm(asked.size, asked.context, media_type), asked.version or source.version
        headers = {
            "ETag": form.tag(version),
            # without a version the same address shows another picture once the chip is encoded anew
            "Cache-Control": "private, no-cache" if asked.version is None else _FOR_EVER,
            "Vary": "Accept",
        }
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if self._waiting_pictures.locked():  # the other half of all requests is left for searches
            raise RefusedRequest(QUEUE_FULL)
        async with self._waiting_pictures:
            picture: bytes | Refusal = await self._pictures.picture.remote(source, form, version)
        return Response(_or_raise(picture), media_type=media_type, headers=headers)

    async def encode(self, request: Request) -> EncodeAnswer:
        """Return the code of an uploaded image. The body is the raw bytes of the image."""
        encoded = await self._encoded(request)
        return EncodeAnswer(
            code=encoded.code.hex(),
            bit_weights=encoded.bit_weights,
            bits=len(encoded.code) * 8,
            model_id=encoded.model_id,
        )

    async def _encoded(self, request: Request) -> Encoded:
        """Return the code of the image in a request's body. Raises RefusedRequest."""
        encoded: Encoded | Refusal = await self._encoder.encode.remote(await request.body())
        if isinstance(encoded, Refusal):
            raise RefusedRequest(with_hint(encoded, request.scope))
        return encoded

    async def snapshot(self) -> SnapshotInfo:
        """Return which version of the table is served."""
        return snapshot_info(await self._shards.infos(), has_base_map=self._base_map is not None)

    async def status(self) -> Status:
        """Return what each deployment has loaded. Needs a key of the admin role."""
        infos, encoder = await asyncio.gather(self._shards.infos(), self._encoder.info.remote())
        return status_of(infos, encoder)

    async def healthz(self) -> dict[str, str]:
        """Say that the process is alive."""
        return {"status": "alive"}

    async def readyz(self) -> dict[str, str]:
        """Say that queries can be answered: all shards have a snapshot, and the encoder has their model.

        An encoder that has just started still loads it. That is ready too: an image that comes then waits.
        """
        infos, encoder = await asyncio.gather(self._shards.infos(), self._encoder.info.remote())
        models = {info.published.model_id for info in infos}
        if encoder.model_id is not None:
            models.add(encoder.model_id)
        if len(models) > 1:
            raise RefusedRequest(NOT_READY)
        return {"status": "ready"}

    async def _respond(self, page: Page, kind: MediaType, request: Request) -> Response:
        self._count(page)
        return await respond(page, kind, request)

    def _count(self, page: Page) -> None:
        """Count a search in the metrics."""
        search = page.about["search"]
        self._metrics.searched(search["method"], search["codes_compared"])


def openapi() -> dict[str, Any]:
    """Return the description of the routes, as `/openapi.json` has it. Nothing is loaded for it."""
    ingress = Ingress.__new__(Ingress)
    ingress._shards, ingress._watches, ingress._base_map = Shards([]), None, None
    return ingress._described().openapi()


def _or_raise(answer: Answer | Refusal) -> Answer:
    """Return the answer. Raises RefusedRequest if it is a refusal."""
    if isinstance(answer, Refusal):
        raise RefusedRequest(answer)
    return answer
