"""How fast training's parts are: `python -m benchmarks.train --data ../shared/data`.

Feature extraction as the jobs do it, beside the plain loop: float32, eager, channels first; and whether both
give one code. Then a head's whole training from cached features, to the figures of `benchmarks.quality`,
whose folders are used; features that aren't cached yet are computed first, and not counted.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality import DEFAULT, add_folders, measure, open_folders, train
from model.network import HashNetwork
from model.preprocess import preprocess
from pipelines.config import StoreConfig
from pipelines.imagery.pixels import PixelSpec
from pipelines.labels.chip_pixels import chip_arrays, read_chips
from pipelines.labels.dataset import read_labels
from pipelines.registry.bundles import read_bundle
from pipelines.runtime.cluster import connected
from pipelines.storage.store import Store

_CHIPS, _BATCH, _ROUNDS = 192, 64, 3


def main() -> None:
    """Measure, print, and give the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_folders(parser)
    data, work = open_folders(parser.parse_args())
    with connected():
        train(DEFAULT, data, work)  # fills the cache
        started = time.perf_counter()
        bundle = train(DEFAULT, data, work)
        seconds = time.perf_counter() - started
        quality = measure(bundle, data, work, [])[0]
        chips = _read(data)
    _, network = read_bundle(bundle, Store(StoreConfig()))
    ratio, same_bits = compare_extraction(network, chips)
    print(f"features: {ratio:.2f} x as fast as the plain float32 loop, {same_bits:.2%} of the bits the same")
    print(f"head: trained and registered in {seconds:.0f} s on {torch.get_num_threads()} threads: {quality}")
    measured = {
        "extraction_vs_fp32_eager": round(ratio, 2),
        "same_bits": round(same_bits, 5),
        "head_training_seconds": round(seconds, 1),
        "map20": quality["map20"],
    }
    print(json.dumps({"train": measured}))


def _read(data: Path) -> list[NDArray[np.uint8]]:
    """Return chips of the test side, of all classes."""
    store = Store(StoreConfig())
    test = read_labels(f"{data}/aid150", store).rows("test")
    some = test.take(np.linspace(0, len(test) - 1, _CHIPS).astype(int))
    blocks = read_chips(some, PixelSpec((1, 2, 3)), store).iter_batches(
        batch_size=None, batch_format="pyarrow"
    )
    return [chip_HWC for block in blocks for chip_HWC in chip_arrays(block)]


def compare_extraction(network: HashNetwork, chips: list[NDArray[np.uint8]]) -> tuple[float, float]:
    """Return how many times faster `HashNetwork.extract` is than a plain loop, and the share of same bits."""
    plain = HashNetwork(network.network_spec, network.input_spec)
    plain.load_state_dict(network.state_dict())
    plain.eval().to(memory_format=torch.contiguous_format)

    def plain_loop(batch: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        with torch.inference_mode():
            images_BCSS = preprocess(torch.from_numpy(np.stack(batch)), plain.input_spec).contiguous()
            return np.asarray(plain.backbone(images_BCSS).numpy())

    seconds: dict[str, list[float]] = {"fast": [], "plain": []}
    features: dict[str, NDArray[np.float32]] = {}
    for _ in range(_ROUNDS):  # in turns: the machine is shared
        for name, extract in (("fast", network.extract), ("plain", plain_loop)):
            elapsed, features[name] = _timed(extract, chips)
            seconds[name].append(elapsed)
    codes = {name: network.encode_features(vectors) for name, vectors in features.items()}
    different = int(np.bitwise_count(codes["fast"] ^ codes["plain"]).sum())
    ratio = float(np.median(seconds["plain"]) / np.median(seconds["fast"]))
    return ratio, 1 - different / (codes["fast"].size * 8)


def _timed(
    extract: Callable[[list[NDArray[np.uint8]]], NDArray[np.float32]], chips: list[NDArray[np.uint8]]
) -> tuple[float, NDArray[np.float32]]:
    extract(chips[:_BATCH])  # to warm up
    started = time.perf_counter()
    parts = [extract(chips[start : start + _BATCH]) for start in range(0, len(chips), _BATCH)]
    return time.perf_counter() - started, np.concatenate(parts)


if __name__ == "__main__":
    main()
