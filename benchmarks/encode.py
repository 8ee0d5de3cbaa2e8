"""What the forward pass takes: `python -m benchmarks.encode --data ../shared/data`, on a real S3 server.

AID scenes (a chip each) and NAIP and Landsat rasters (many) are encoded with frozen Inception v3 and a head
fitted on other scenes. Beside it: the plain loop, float32 and channels first; and a DataLoader over the same
bucket into one Parquet file. All in one run, in turns. Whole nights are what `benchmarks.night` measures.

Shapes: N, B chips, H x W pixels, D features, C classes, Y bytes a code.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from rich.console import Console

from benchmarks import plain
from benchmarks.quality import INCEPTION, add_data, open_data
from model.backbones import own_input, read_weights
from model.bundle import pack_bundle
from model.codes import Codes
from model.loss_spec import OrthoHashSpec
from model.losses import build_loss
from model.network import HashNetwork
from model.recipe import Recipe
from model.spec import NetworkSpec
from model.training import TrainingModule, TrainingSet, start, train_epoch
from pipelines.config import StoreConfig
from pipelines.demo.objectstore import ACCESS_KEY, SECRET_KEY, object_store
from pipelines.encode.chips import read_objects
from pipelines.encode.config import EncodeConfig
from pipelines.registry.bundles import write_bundle
from pipelines.sources.chip_specs import chip_specs_of
from pipelines.sources.listing import list_source
from pipelines.storage.store import Store

_SIDE = 150  # of AID's scenes, and of the chips that rasters are cut into [pixels]
_FITTED, _ENCODED = 60, 10  # scenes of each class: for the head, for the archive
_RASTERS = ("geotiff/naip", "geotiff/landsat")
_RECIPE = Recipe()  # the default: how far outputs are from 0, and so how many bits turn, is the head's
_COMPARED, _BY_LOADER = 192, 96  # chips for the plain loop, which is slow; scenes for the DataLoader

_print = Console().print


def main() -> None:
    """Measure, print, and give the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_data(parser)
    data = open_data(parser.parse_args())
    os.environ |= {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    with TemporaryDirectory() as folder, object_store(Path(folder), "bench") as endpoint:
        print(json.dumps({"encode": measure(data, Store(StoreConfig(endpoint=endpoint)))}))


def measure(data: Path, store: Store) -> dict[str, float]:
    """Fill the bucket, encode it in each way, and return the figures."""
    network = fit(data)
    manifest, files = pack_bundle(network, "bench", ("bench",), "none", {})
    config = EncodeConfig(
        source="s3://bench/imagery",
        table="s3://bench/codes",
        bundle=f"s3://bench/bundles/{manifest.model_id}",
        chip_size=_SIDE,
        store=store.config,
    )
    write_bundle(config.bundle, files, store)
    upload(data, config.source, store)
    with TemporaryDirectory() as folder:
        unit = pq.read_table(list_source(config, store, Path(folder)).objects)
    chips_NHWC = chips_of(unit, config, network)
    _print(f"{len(unit)} objects, {len(chips_NHWC)} chips, {config.batch_size} a batch")

    bare = forward(network, chips_NHWC[:_COMPARED], config.batch_size)
    places = torch.linspace(0, len(chips_NHWC) - 1, _COMPARED).long()  # of all kinds that the archive has
    ratio, bits_changed = compare(network, chips_NHWC[places], config.batch_size)
    scenes = [uri for uri in unit["uri"].to_pylist() if uri.endswith(".jpg")][:_BY_LOADER]
    target, plain_network = "s3://bench/plain.parquet", plain.plain_network(network)
    loader = plain.encode_bucket(plain_network, scenes, store, target, config.batch_size)

    _print(
        f"bare forward pass: {bare:.1f} chips/s, {ratio:.2f} x the plain loop, {bits_changed:.2%} other bits"
    )
    _print(f"DataLoader, float32, one Parquet file: {loader:.1f} chips/s while it runs")
    return {
        "forward_vs_loader": round(bare / loader, 2),
        "forward_vs_naive": round(ratio, 2),
        "bits_changed": round(bits_changed, 5),
    }


def fit(data: Path) -> HashNetwork:
    """Return Inception v3 with a head fitted on the first scenes of each class."""
    weights = data / "weights" / INCEPTION
    torch.manual_seed(0)
    network = HashNetwork(
        NetworkSpec(), own_input("inception_v3"), read_weights(weights.read_bytes(), weights.name)
    )
    paths = [path for folder in classes(data) for path in scenes(folder)[:_FITTED]]
    chips = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    network.eval()
    features_ND = np.concatenate([network.extract(chips[at : at + 32]) for at in range(0, len(chips), 32)])
    labels_NC = np.repeat(np.eye(len(classes(data)), dtype=bool), _FITTED, axis=0)
    loss_of = build_loss(
        OrthoHashSpec(contrast_weight=0), labels_NC.shape[1], network.network_spec.kind_bits, seed=0
    )
    state = start(network, _RECIPE, len(labels_NC))
    module = TrainingModule(network, _RECIPE, keep_statistics=True)
    fitted = TrainingSet(
        labels_NC, lambda rows_B, _, views: torch.from_numpy(features_ND[rows_B.repeat(views)])
    )
    for _ in range(_RECIPE.epochs):
        train_epoch(state, module, loss_of, fitted, 0)
    return network.eval()


def classes(data: Path) -> list[Path]:
    """Return AID's folders, one a class."""
    return sorted(path for path in (data / "aid150").iterdir() if path.is_dir())


def scenes(folder: Path) -> list[Path]:
    """Return a class's scenes."""
    return sorted(folder.glob("*.jpg"))


def upload(data: Path, source: str, store: Store) -> None:
    """Put the archive into the bucket: scenes that the head hasn't seen, and the rasters."""
    paths = [path for folder in classes(data) for path in scenes(folder)[_FITTED : _FITTED + _ENCODED]]
    paths += [path for name in _RASTERS for path in sorted((data / name).glob("*.tif"))]
    for path in paths:
        store.write(f"{source}/{path.parent.name}/{path.name}", path.read_bytes())


def chips_of(unit: pa.Table, config: EncodeConfig, network: HashNetwork) -> torch.Tensor:
    """Return the archive's chips_NHWC, read as a night reads them."""
    batches = list(read_objects(unit, chip_specs_of(config, network.input_spec), Store(config.store)))
    if any(len(batch.chips_NHWC) < len(batch.rows) for batch in batches):
        raise AssertionError("an object gave no chips")
    return torch.from_numpy(np.concatenate([batch.chips_NHWC for batch in batches]))


def forward(network: HashNetwork, chips_NHWC: torch.Tensor, batch: int) -> float:
    """Return chips a second of `HashNetwork.encode`, at its best.

    That is one batch at a time on all cores, or as many as there are cores, each on one thread.
    """
    batches, cores = torch.split(chips_NHWC, batch), torch.get_num_threads()
    rates = []
    for workers in (1, cores):
        torch.set_num_threads(cores // workers)
        with ThreadPoolExecutor(workers) as pool:
            started = time.perf_counter()
            list(pool.map(network.encode, batches))
            rates.append(len(chips_NHWC) / (time.perf_counter() - started))
    torch.set_num_threads(cores)
    return max(rates)


def compare(network: HashNetwork, chips_NHWC: torch.Tensor, batch: int) -> tuple[float, float]:
    """Return how much faster it is than the plain loop, in turns, and the share of bits that differ."""
    plain_network = plain.plain_network(network)
    fast: list[float] = []
    slow: list[float] = []
    different = 0
    for chips_BHWC in torch.split(chips_NHWC, batch):
        seconds, codes_BY = timed(network.encode, [chips_BHWC])
        fast.append(seconds)
        seconds, plain_BY = timed(lambda chips: plain.encode(plain_network, chips), [chips_BHWC])
        slow.append(seconds)
        different += int(np.bitwise_count(codes_BY ^ plain_BY).sum())
    bits = len(chips_NHWC) * network.network_spec.code.bits
    return float(np.median(slow) / np.median(fast)), different / bits


def timed(encode: Callable[[torch.Tensor], Codes], batches: Sequence[torch.Tensor]) -> tuple[float, Codes]:
    """Return the median seconds of full batches, and all codes."""
    seconds, codes = [], []
    for chips_BHWC in batches:
        started = time.perf_counter()
        codes.append(encode(chips_BHWC))
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds)), np.concatenate(codes)


if __name__ == "__main__":
    main()
