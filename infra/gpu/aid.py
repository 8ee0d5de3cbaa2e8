"""AID's scenes in memory, their split, and the figure that codes are judged by. Needs `model` and Pillow.

Shapes: N chips, S x S pixels, C classes.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model.network import HashNetwork
from model.retrieval import LabelledCodes, retrieve

SIDE = 150
_TRAINED = 0.6  # of each class's scenes
_BATCH = 256


@dataclass(frozen=True)
class Chips:
    """Chips of one side of the split."""

    chips_NSSC: NDArray[np.uint8]
    classes_N: NDArray[np.int64]

    def labels(self) -> NDArray[np.bool_]:
        """Return labels_NC, one a row."""
        return np.eye(int(self.classes_N.max()) + 1, dtype=bool)[self.classes_N]


def read(data: Path, most: int) -> tuple[Chips, Chips]:
    """Return the training side, 60 % of each class, and the test side; ``most``: scenes of a class."""
    sides: tuple[list[tuple[Path, int]], ...] = ([], [])
    for number, folder in enumerate(sorted(path for path in (data / "aid150").iterdir() if path.is_dir())):
        names = sorted(folder.glob("*.jpg"), key=lambda path: hashlib.sha256(path.name.encode()).digest())
        names = names[:most]
        trained = round(_TRAINED * len(names))
        sides[0].extend((path, number) for path in names[:trained])
        sides[1].extend((path, number) for path in names[trained:])
    with ThreadPoolExecutor() as pool:
        pixels = [np.stack(list(pool.map(_pixels, [path for path, _ in side]))) for side in sides]
    train, test = (
        Chips(chips_NSSC, np.array([number for _, number in side]))
        for chips_NSSC, side in zip(pixels, sides, strict=True)
    )
    return train, test


def _pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


def map_at_20(network: HashNetwork, test: Chips) -> float:
    """Return mAP@20 of each test chip's code among those of the others."""
    network.eval()
    batches = torch.split(torch.from_numpy(test.chips_NSSC), _BATCH)
    codes_NY = np.concatenate([network.encode(batch) for batch in batches])
    return retrieve(LabelledCodes(codes_NY, test.classes_N)).ranking.map_at_k[20]
