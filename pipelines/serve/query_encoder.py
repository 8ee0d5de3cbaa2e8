"""The Serve deployment that turns uploaded images into codes with the published bundle's network.

Shapes: B images, H x W pixels, C bands, K bits, Y bytes a code.
"""

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from ray import serve

from model.bit_weights import bit_weights
from model.network import HashNetwork
from pipelines.imagery.pixels import PixelSpec
from pipelines.registry.bundles import read_bundle
from pipelines.runtime.logs import gather_logs
from pipelines.serve.config import ServeConfig
from pipelines.serve.follow import Follower
from pipelines.serve.pools import WorkPool
from pipelines.serve.question import Encoded, EncoderInfo
from pipelines.serve.ranking import digits
from pipelines.serve.refusals import Refusal
from pipelines.serve.uploads import read_upload
from pipelines.storage.store import Store
from pipelines.table.pointer import Published, check_model

# Loading a bundle traces its backbone, and torch.fx patches nn.Module for the whole process while it traces:
# a forward pass in another thread would fail.
_NETWORK_LOCK = threading.Lock()
_FORWARD = WorkPool("network", 1)  # one thread, because the lock lets only one run

_DECODING_THREADS = 4


@dataclass(frozen=True)
class _Model:
    published: Published
    network: HashNetwork

    @property
    def model_id(self) -> str:
        return self.published.model_id


@dataclass(frozen=True)
class _Upload:
    chip_HWC: NDArray[np.uint8]
    model: _Model
    """The model that the chip was read for; another one may have been published since."""


class Encoder:
    """Decodes each image by itself, and encodes images that arrive together as one batch."""

    def __init__(self, config: ServeConfig) -> None:
        """Load the published bundle. Raises TableError, BundleError, StorageError."""
        gather_logs()
        torch.set_num_threads(1)  # add replicas, not threads, for more throughput
        store = Store(config.store)
        device = torch.device("cuda" if config.encoder_gpus else "cpu")

        def load(published: Published, kept: Sequence[_Model]) -> _Model:
            same = next((model for model in kept if model.model_id == published.model_id), None)
            if same is not None and same.published.bundle_uri == published.bundle_uri:
                return replace(same, published=published)
            with _NETWORK_LOCK:
                manifest, network = read_bundle(published.bundle_uri, store)
            check_model(published, manifest)
            return _Model(published, network.to(device))

        self._max_pixels = config.max_image_pixels
        self._device = device.type
        self._decoding = WorkPool("decoding", _DECODING_THREADS)
        self._follower = Follower(config, load, show=lambda published, refused: None)  # noqa: ARG005
        batched = serve.batch(
            max_batch_size=config.encode_batch, batch_wait_timeout_s=config.encode_wait_ms / 1000
        )
        self._encode_batch = batched(_encode_batch)

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
        return await self._encode_batch(_Upload(chip_HWC, model))


async def _encode_batch(uploads: list[_Upload]) -> list[Encoded]:
    return await _FORWARD.run(_encode_all, uploads)


def _encode_all(uploads: list[_Upload]) -> list[Encoded]:
    """Encode images of one size and model together."""
    groups: dict[tuple[str, tuple[int, ...]], list[int]] = defaultdict(list)
    for position, upload in enumerate(uploads):
        groups[upload.model.model_id, upload.chip_HWC.shape].append(position)
    encoded: dict[int, Encoded] = {}
    for (model_id, _), positions in groups.items():
        chips_BHWC = torch.from_numpy(np.stack([uploads[position].chip_HWC for position in positions]))
        network = uploads[positions[0]].model.network
        with _NETWORK_LOCK:
            codes_BY, outputs_BK = network.encode_with_outputs(chips_BHWC)
        weights_BK = bit_weights(outputs_BK, network.network_spec.code)
        encoded |= {
            position: Encoded(code_Y.tobytes(), digits(weights_K), model_id)
            for position, code_Y, weights_K in zip(positions, codes_BY, weights_BK, strict=True)
        }
    return [encoded[position] for position in range(len(uploads))]
