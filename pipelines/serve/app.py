"""The HTTP ingress: FastAPI routes over the deployments, and the Serve application that they make up."""

import asyncio
from typing import Annotated, TypeVar

from fastapi import APIRouter, FastAPI, Query, Request, Response
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from pipelines.api import (
    Chip,
    EncodeAnswer,
    ErrorBody,
    SearchAnswer,
    SearchLimits,
    SearchRequest,
    SnapshotInfo,
)
from pipelines.serve.config import ServeConfig
from pipelines.serve.encoder import Encoded, Encoder
from pipelines.serve.gate import Gate
from pipelines.serve.refusals import NOT_READY, Refusal, RefusedRequest, add_handlers
from pipelines.serve.shard import ChipSource, Shard
from pipelines.serve.uploads import read_thumbnail
from pipelines.storage import Store

Answer = TypeVar("Answer")

_MODEL_CHANGING = Refusal(503, "model_changing", "a new model is being published", "try again in a moment")
_ERRORS: dict[int | str, dict[str, object]] = {
    "default": {"model": ErrorBody, "description": "What was wrong"}
}
_IMAGE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/jpeg", "image/png", "image/tiff", "image/jp2")
        },
    }
}


class Ingress:
    """Checks requests, asks the deployments, and words the answers."""

    def __init__(
        self, config: ServeConfig, shard: DeploymentHandle[Shard], encoder: DeploymentHandle[Encoder]
    ) -> None:
        """Keep what the routes need."""
        self._config, self._store = config, Store(config.store)
        self._shard, self._encoder = shard, encoder

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the app; Serve calls it in the replica."""
        app = FastAPI(title="Scenehash", summary="Search a satellite image archive by example")
        app.add_middleware(
            Gate, key_hashes=self._config.key_hashes, max_body=int(self._config.max_upload_mb * 1e6)
        )
        add_handlers(app)
        app.include_router(self._routes())
        return app

    def _routes(self) -> APIRouter:
        router = APIRouter(responses=_ERRORS)
        router.post("/v1/search")(self.search)
        router.post("/v1/search/image", openapi_extra=_IMAGE_BODY)(self.search_image)
        router.get("/v1/chips/{chip_id}")(self.chip)
        router.get("/v1/chips/{chip_id}/thumbnail", response_class=Response)(self.thumbnail)
        router.post("/v1/encode", openapi_extra=_IMAGE_BODY)(self.encode)
        router.get("/v1/snapshot")(self.snapshot)
        router.get("/healthz")(self.healthz)
        router.get("/readyz")(self.readyz)
        return router

    async def search(self, query: SearchRequest) -> SearchAnswer:
        """Find the chips most like one of the table, a code, or the chip at a point."""
        answer: SearchAnswer = _answered(await self._shard.search.remote(query))
        return answer

    async def search_image(self, request: Request, limits: Annotated[SearchLimits, Query()]) -> SearchAnswer:
        """Find the chips most like an uploaded image, the raw bytes of which are the body."""
        encoded: Encoded = _answered(await self._encoder.encode.remote(await request.body()))
        if limits.model_id not in (None, encoded.model_id):
            message = f"images are encoded with {encoded.model_id}, not {limits.model_id}"
            raise RefusedRequest(Refusal(409, "other_model", message, "leave model_id out, or name that one"))
        query = SearchRequest(
            code=encoded.code.hex(), k=limits.k, max_distance=limits.max_distance, model_id=encoded.model_id
        )
        answer: SearchAnswer | Refusal = await self._shard.search.remote(query)
        if isinstance(answer, Refusal) and answer.code == "other_model":
            raise RefusedRequest(_MODEL_CHANGING)
        return _answered(answer)

    async def chip(self, chip_id: str) -> Chip:
        """Return one chip."""
        chip: Chip = _answered(await self._shard.chip.remote(chip_id))
        return chip

    async def thumbnail(self, chip_id: str) -> Response:
        """Return one chip's pixels as PNG."""
        source: ChipSource = _answered(await self._shard.source.remote(chip_id))
        png = await asyncio.to_thread(read_thumbnail, source.uri, source.window, source.pixels, self._store)
        return Response(_answered(png), media_type="image/png")

    async def encode(self, request: Request) -> EncodeAnswer:
        """Return the code of an uploaded image, the raw bytes of which are the body."""
        encoded: Encoded = _answered(await self._encoder.encode.remote(await request.body()))
        return EncodeAnswer(code=encoded.code.hex(), bits=len(encoded.code) * 8, model_id=encoded.model_id)

    async def snapshot(self) -> SnapshotInfo:
        """Return what is being served."""
        info: SnapshotInfo = await self._shard.info.remote()
        return info

    async def healthz(self) -> dict[str, str]:
        """Say that the process is alive."""
        return {"status": "alive"}

    async def readyz(self) -> dict[str, str]:
        """Say that queries can be answered: snapshot loaded, encoder of the same model."""
        info, model_id = await asyncio.gather(self._shard.info.remote(), self._encoder.model_id.remote())
        if info.model_id != model_id:
            raise RefusedRequest(NOT_READY)
        return {"status": "ready"}


def _answered(answer: Answer | Refusal) -> Answer:
    """Return the answer. Raises RefusedRequest where it is a refusal."""
    if isinstance(answer, Refusal):
        raise RefusedRequest(answer)
    return answer


def build_app(config: ServeConfig) -> Application:
    """Return the Serve application: one ingress, one encoder, one shard that holds the whole table."""
    half_cpu = {"num_cpus": 0.5}
    shard = serve.deployment(max_ongoing_requests=64, ray_actor_options=half_cpu)(Shard).bind(config)
    encoder = serve.deployment(max_ongoing_requests=64, ray_actor_options=half_cpu)(Encoder).bind(config)
    ingress = serve.deployment(max_ongoing_requests=256, ray_actor_options={"num_cpus": 0})
    return ingress(serve.ingress()(Ingress)).bind(config, shard, encoder)
