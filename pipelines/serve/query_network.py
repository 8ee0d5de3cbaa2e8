"""Networks that encode uploaded images: loaded from bundles, and their forward pass, one at a time.

Shapes: B images, H x W pixels, C bands, K bits, Y bytes a code.
"""

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from model.bit_weights import bit_weights
from model.network import HashNetwork
from pipelines.registry.bundles import read_bundle
from pipelines.serve.question import Encoded
from pipelines.serve.ranking import digits
from pipelines.storage.store import Store
from pipelines.table.pointer import Published, check_model

# Loading a bundle traces its backbone, and torch.fx patches nn.Module for the whole process while it traces:
# a forward pass in another thread would fail.
_NETWORK_LOCK = threading.Lock()


@dataclass(frozen=True)
class PublishedNetwork:
    """The network of a publication's bundle."""

    published: Published
    network: HashNetwork

    @property
    def model_id(self) -> str:
        """The model's id."""
        return self.published.model_id


@dataclass(frozen=True)
class Upload:
    """An image that was uploaded, and the network that encodes it."""

    chip_HWC: NDArray[np.uint8]
    model: PublishedNetwork
    """The network that the chip was read for; another one may have been published since."""


def load_network(
    published: Published, kept: Sequence[PublishedNetwork], store: Store, device: str
) -> PublishedNetwork:
    """Return a publication's network on a device; one of those ``kept`` if it is the same.

    Raises BundleError, StorageError.
    """
    torch.set_num_threads(1)  # add replicas, not threads, for more throughput
    same = next((model for model in kept if model.model_id == published.model_id), None)
    if same is not None and same.published.bundle_uri == published.bundle_uri:
        return replace(same, published=published)
    with _NETWORK_LOCK:
        manifest, network = read_bundle(published.bundle_uri, store)
    check_model(published, manifest)
    return PublishedNetwork(published, network.to(torch.device(device)))


def encode_uploads(uploads: list[Upload]) -> list[Encoded]:
    """Return the codes of images, in order. Images of one size and model are encoded together."""
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
