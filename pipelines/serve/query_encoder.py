"""The Serve deployment that turns uploaded images into codes with the published bundle's network."""

import asyncio
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from ray import serve

from pipelines.imagery.pixels import PixelSpec
from pipelines.runtime.logs import gather_logs
from pipelines.serve.config import ServeConfig
from pipelines.serve.follow import Follower
from pipelines.serve.pools import WorkPool
from pipelines.serve.question import Encoded, EncoderInfo
from pipelines.serve.refusals import Refusal
from pipelines.serve.uploads import read_upload
from pipelines.storage.store import Store
from pipelines.table.pointer import Published

if TYPE_CHECKING:
    from pipelines.serve.query_network import PublishedNetwork, Upload

_DECODING_THREADS = 4
_NICE = 10  # of the thread that loads networks


class Encoder:
    """Decodes each image by itself, and encodes images that arrive together as one batch.

    Its network is loaded beside: torch takes seconds of a processor, and searches that need no network are
    ready before. An image that comes sooner waits for it.
    """

    def __init__(self, config: ServeConfig) -> None:
        """Begin to load the published bundle."""
        gather_logs()
        self._config, self._device = config, "cuda" if config.encoder_gpus else "cpu"
        self._decoding = WorkPool("decoding", _DECODING_THREADS)
        self._forward = WorkPool("network", 1)  # one thread, because the network's lock lets only one run
        self._loading: Future[Follower[PublishedNetwork]] = Future()
        threading.Thread(target=self._load, name="network-loader", daemon=True).start()
        batched = serve.batch(
            max_batch_size=config.encode_batch, batch_wait_timeout_s=config.encode_wait_ms / 1000
        )
        self._encode_batch = batched(self._encode_uploads)

    def _load(self) -> None:
        """Load the newest publication's network, and follow; searches' threads come first."""
        if sys.platform == "linux":  # elsewhere a thread has no priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            # imported here, in the replica: whoever deploys the class doesn't need torch
            from pipelines.serve.query_network import load_network

            store = Store(self._config.store)

            def load(published: Published, kept: "Sequence[PublishedNetwork]") -> "PublishedNetwork":
                return load_network(published, kept, store, self._device)

            self._loading.set_result(Follower(self._config, load, show=lambda published, refused: None))  # noqa: ARG005
        except Exception as error:  # noqa: BLE001 - `check_health` raises it
            self._loading.set_exception(error)

    def check_health(self) -> None:
        """Raise TableError, BundleError or StorageError if no network could be loaded: Serve starts anew."""
        if self._loading.done():
            self._loading.result()

    def info(self) -> EncoderInfo:
        """Return the model, None while its network is loaded, and the device for the next image."""
        is_loaded = self._loading.done()
        return EncoderInfo(self._loading.result().current.model_id if is_loaded else None, self._device)

    async def encode(self, content: bytes) -> Encoded | Refusal:
        """Return the code of an uploaded image, or why it can't be encoded."""
        model = (await asyncio.shield(asyncio.wrap_future(self._loading))).current
        from pipelines.serve.query_network import Upload  # loaded by now

        pixels = PixelSpec.of(model.network.input_spec)
        chip_HWC = await self._decoding.run(read_upload, content, pixels, self._config.max_image_pixels)
        if isinstance(chip_HWC, Refusal):
            return chip_HWC
        return await self._encode_batch(Upload(chip_HWC, model))

    async def _encode_uploads(self, uploads: "list[Upload]") -> list[Encoded]:
        from pipelines.serve.query_network import encode_uploads  # loaded by now

        return await self._forward.run(encode_uploads, uploads)
