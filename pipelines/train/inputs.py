"""The inputs of a training worker: features in memory, or decoded chips in Ray's object store.

Shapes: N chips, V views of each, B chips of a batch, D features, S x S pixels.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import ray
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.preprocess import augment, preprocess_mixed
from model.recipe import AugmentSpec
from model.spec import InputSpec
from pipelines.imagery.pixels import PixelSpec
from pipelines.labels.chip_pixels import READ_CPUS, Unreadable, chip_arrays, read_chips
from pipelines.storage.store import Store


@dataclass(frozen=True)
class FeatureRows:
    """Features of a frozen backbone, in memory."""

    features_NVD: NDArray[np.float32]

    def inputs(self, rows_B: NDArray[np.int64], generator: torch.Generator, views: int) -> Tensor:
        """Return the features of each row's chip in so many different views, drawn at random.

        The views of a chip are next to each other: the result has ``len(rows_B) * views`` rows.
        """
        num_views, num_features = self.features_NVD.shape[1:]
        order_BV = torch.rand(len(rows_B), num_views, generator=generator).argsort(dim=1)[:, :views]
        drawn_BVD = self.features_NVD[rows_B[:, None], order_BV.numpy()]
        return torch.from_numpy(drawn_BVD.reshape(-1, num_features))


@dataclass(frozen=True)
class ChipRows:
    """Decoded chips in Ray's object store, which moves to disk what doesn't fit in memory.

    Each worker may read any row: docs/decisions/0007. It fetches the blocks of a batch; a block that is on
    its own node isn't copied.
    """

    blocks: "tuple[ray.ObjectRef[pa.Table], ...]"
    place_N2: NDArray[np.int64]
    """The block of each chip, and the row in that block."""

    def chips(self, rows_B: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Return chips_HWC, in the order of the rows."""
        place_B2 = self.place_N2[rows_B]
        needed = np.unique(place_B2[:, 0])
        tables = dict(zip(needed, ray.get([self.blocks[block] for block in needed]), strict=True))
        return [chip_arrays(tables[block].slice(row, 1))[0] for block, row in place_B2]


@dataclass(frozen=True)
class AugmentedImages:
    """Images of chips, changed at random."""

    rows: ChipRows
    input_spec: InputSpec
    augment: AugmentSpec
    device: torch.device

    def inputs(self, rows_B: NDArray[np.int64], generator: torch.Generator, views: int) -> Tensor:
        """Return images of each row's chip on the device, each changed at random in so many views.

        The views of a chip are next to each other.
        """
        images_BCSS = preprocess_mixed(self.rows.chips(rows_B), self.input_spec, self.device)
        return augment(images_BCSS.repeat_interleave(views, dim=0), self.augment, generator)


def decode(
    chips: pa.Table, pixels: PixelSpec, store: Store
) -> tuple[ChipRows, NDArray[np.int64], list[Unreadable]]:
    """Decode labelled chips into the object store.

    Returns the decoded chips, their rows in the labels, and the chips that can't be read. Needs a running
    Ray.
    """
    blocks = tuple(read_chips(chips, pixels, store).materialize().to_arrow_refs())
    contents = ray.get([_contents.remote(block) for block in blocks])
    uri_of = dict(zip(chips["row"].to_pylist(), chips["uri"].to_pylist(), strict=True))
    places, unreadable = {}, []
    for block, (rows, reasons) in enumerate(contents):
        for place, (row, reason) in enumerate(zip(rows, reasons, strict=True)):
            if reason is None:
                places[row] = (block, place)
            else:
                unreadable.append(Unreadable(uri_of[row], reason))
    order = sorted(places)
    place_N2 = np.asarray([places[row] for row in order], np.int64).reshape(-1, 2)
    return ChipRows(blocks, place_N2), np.asarray(order, np.int64), unreadable


@ray.remote(num_cpus=READ_CPUS)
def _contents(block: pa.Table) -> tuple[list[int], list[str | None]]:
    return block["row"].to_pylist(), block["reason"].to_pylist()
