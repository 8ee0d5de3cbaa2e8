"""The Serve deployment that turns uploaded images into codes with the published bundle's network."""

from collections.abc import Sequence
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


class Encoder:
    """Decodes each image by itself, and encodes images that arrive together as one batch."""

    def __init__(self, config: ServeConfig) -> None:
        """Load the published bundle. Raises TableError, BundleError, StorageError."""
        # imported here, in the replica: torch takes seconds, and whoever deploys the class doesn't need it
        from pipelines.serve.query_network import Upload, encode_uploads, load_network

        gather_logs()
        store = Store(config.store)
        self._device = "cuda" if config.encoder_gpus else "cpu"

        def load(published: Published, kept: "Sequence[PublishedNetwork]") -> "PublishedNetwork":
            return load_network(published, kept, store, self._device)

        self._max_pixels = config.max_image_pixels
        self._decoding = WorkPool("decoding", _DECODING_THREADS)
        self._follower = Follower(config, load, show=lambda published, refused: None)  # noqa: ARG005
        self._upload = Upload
        forward = WorkPool("network", 1)  # one thread, because the network's lock lets only one run

        async def encode_batch(uploads: "list[Upload]") -> list[Encoded]:
            return await forward.run(encode_uploads, uploads)

        batched = serve.batch(
            max_batch_size=config.encode_batch, batch_wait_timeout_s=config.encode_wait_ms / 1000
        )
        self._encode_batch = batched(encode_batch)

    def info(self) -> EncoderInfo:
        """Return the model and the device for the next image."""
        return EncoderInfo(self._follower.current.model_id, self._device)

    async def encode(self, content: bytes) -> Encoded | Refusal:
        """Return the code of an uploaded image, or why it can't be encoded."""
        model = self._follower.current
        pixels = PixelSpec.of(model.network.input_spec)
        chip_HWC = await self._decoding.run(read_upload, content, pixels, self._max_pixels)
        if isinstance(chip_HWC, Refusal):
            return chip_HWC
        return await self._encode_batch(self._upload(chip_HWC, model))
