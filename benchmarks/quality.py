"""How well the codes of each preset retrieve: `python -m benchmarks.quality --data ../shared/data`.

Trains on 60 % of AID (30 classes, 150 pixels), measures on the other 40 %: leave-one-out among them, and
with the training side as the database. For classes never seen, each preset is trained twice more on half of
the classes, and measured among the test chips of the other half. Places are those of Landsat scenes of eight
years. Training is done by the job's own code. Seed A's fine-tuning takes most of an hour on two cores: it is
trained with ``--train-seed-a`` only, measured again with ``--seed-a-bundle``, and not for unseen classes.

Shapes: N chips, D features, Y bytes a code.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import rasterio
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from model.codes import Codes, part_bytes
from model.metrics import code_health
from model.network import HashNetwork
from model.order import code_lists, cosine_lists, order_figures, place_recall
from model.retrieval import LabelledCodes, retrieve
from model.spec import CodeSpec, Compare
from pipelines.config import FeatureConfig, StoreConfig, TrackingConfig
from pipelines.imagery.grid import Grid, grid_windows
from pipelines.labels.dataset import SplitConfig, read_labels
from pipelines.labels.features import compute_features
from pipelines.registry.bundles import read_bundle
from pipelines.runtime.cluster import connected
from pipelines.storage.store import Store
from pipelines.train.config import TrainConfig
from pipelines.train.run import run_train

# the recipes were chosen on a tenth of the training side; the figures are of all of it
_SPLIT = SplitConfig(validation_share=0)
INCEPTION = "inception_v3_to_mixed_7a.fp16.safetensors"
_GOOGLENET = "bvlc_googlenet.fp16.safetensors"
_HALVES = 2  # draws of the classes that are left out of training
_REFERENCE = 1280  # features of Mixed_7a, the last ones: the order by them is what codes should keep
_PLACE_SIDE = 48  # pixels of a chip of the Landsat scenes

Row = dict[str, float | str | None]


@dataclass(frozen=True)
class Case:
    """A preset, and what is set otherwise than in it."""

    preset: str
    network: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of its models."""
        return "_".join([self.preset, *(str(value) for value in self.network.values())]).replace(":", "_")


DEFAULT = Case("default")
_CASES = (
    DEFAULT,
    Case("default64"),
    Case("default64", {"kind_bits": 32}),
    Case("unlabelled", settings={"chip_size": 150}),
    Case("seed_b"),
)
_SEED_A = Case("seed_a", {"backbone": "bvlc_googlenet:features", "node": ""}, {"input": {"size": 136}})


def main() -> None:
    """Train, measure, print a table, and the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_folders(parser)
    parser.add_argument("--train-seed-a", action="store_true", help="fine-tune seed A (most of an hour)")
    parser.add_argument("--seed-a-bundle", help="measure this bundle of seed A again: URI")
    arguments = parser.parse_args()
    data, work = open_folders(arguments)
    quality: dict[str, list[Row]] = {}
    with connected():
        for case in _CASES:
            halves = [(unseen, train(case, data, work, unseen)) for unseen in unseen_halves(data)]
            quality.setdefault(case.preset, []).extend(measure(train(case, data, work), data, work, halves))
        bundle = train(_SEED_A, data, work) if arguments.train_seed_a else arguments.seed_a_bundle
        if bundle:
            quality[_SEED_A.preset] = measure(bundle, data, work, [])
    Console(width=140).print(table(quality))
    print(json.dumps({"quality": quality}))


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where the data lies."""
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="with aid150 and weights")


def open_data(arguments: argparse.Namespace) -> Path:
    """Return the data's folder, absolute."""
    data: Path = arguments.data.resolve()
    if not (data / "aid150").exists():
        sys.exit(f"{data}/aid150 isn't there; say where with --data")
    return data


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where data and results lie."""
    add_data(parser)
    parser.add_argument("--work", type=Path, default=Path("benchmark-output"), help="bundles, features")


def open_folders(arguments: argparse.Namespace) -> tuple[Path, Path]:
    """Return data and work, absolute; make the user's backbones importable here and in what Ray starts."""
    data, work = open_data(arguments), arguments.work.resolve()
    backbones = str(data.parent / "backbones")
    sys.path.insert(0, backbones)
    os.environ["PYTHONPATH"] = os.pathsep.join([backbones, os.environ.get("PYTHONPATH", "")])
    return data, work


def unseen_halves(data: Path) -> list[tuple[str, ...]]:
    """Return the classes that are left out of training, one draw of half of them after the other."""
    names = sorted(path.name for path in (data / "aid150").iterdir() if path.is_dir())
    draws = [np.random.default_rng(seed).permutation(names) for seed in range(_HALVES)]
    return [tuple(sorted(draw[: len(names) // 2].tolist())) for draw in draws]


def train(case: Case, data: Path, work: Path, unseen: tuple[str, ...] = ()) -> str:
    """Train a preset, without the classes that are to be unseen; return the URI of its bundle."""
    weights = _GOOGLENET if case == _SEED_A else INCEPTION
    work.mkdir(parents=True, exist_ok=True)
    source = {"source": f"{data}/aid150", "split": _SPLIT.model_copy(update={"unseen_classes": unseen})}
    if case.preset == "unlabelled":
        source = {"source": _imagery(data, work, unseen)}
    config = TrainConfig.model_validate(
        {
            "bundles": f"{work}/bundles",
            "name": case.name,
            "preset": case.preset,
            "promote": "always",
            "network": dict(case.network),
            "weights": f"{data}/weights/{weights}",
            "features": _features(work),
            "workers": 0,
            "tracking": TrackingConfig(uri=f"sqlite:///{work}/mlflow.db"),
            **source,
            **case.settings,
        }
    )
    bundle = run_train(config).bundle
    assert bundle is not None
    return bundle


def _imagery(data: Path, work: Path, unseen: tuple[str, ...]) -> str:
    """Write a manifest of the training side's images without their labels; return its name."""
    chips = read_labels(f"{data}/aid150", _store(), _SPLIT).rows("train")
    labels = pc.list_element(chips["labels"], 0)
    chips = chips.filter(pc.invert(pc.is_in(labels, pa.array(unseen, pa.string()))))
    manifest = f"{work}/imagery-{len(chips)}-{'-'.join(unseen)[:20]}.parquet"
    pq.write_table(chips.select(["uri"]), manifest)
    return manifest


def _features(work: Path) -> FeatureConfig:
    return FeatureConfig(cache=f"{work}/features")


def _store() -> Store:
    return Store(StoreConfig())


def measure(bundle: str, data: Path, work: Path, halves: list[tuple[tuple[str, ...], str]]) -> list[Row]:
    """Return a row for each part of a bundle's codes, and for both together.

    ``halves`` are bundles that were trained without some classes, which are named.
    """
    labels = read_labels(f"{data}/aid150", _store(), _SPLIT)
    label_N = np.unique(pc.list_element(labels.chips["labels"], 0).to_numpy(), return_inverse=True)[1]
    is_test_N = pc.equal(labels.chips["split"], "test").to_numpy(zero_copy_only=False)
    _, network = read_bundle(bundle, _store())
    features_ND = compute_features(
        labels.chips, network, _store(), _features(work), f"{work}/features"
    ).features_ND
    codes_NY, code = network.encode_features(features_ND), network.network_spec.code
    unseen = [
        (names, _unseen_rows(labels.chips, names), read_bundle(half, _store())[1]) for names, half in halves
    ]
    compared: tuple[Compare, ...] = ("both", "kind", "look") if len(code.parts) > 1 else ("both",)
    rows = []
    for compare in compared:
        ranked = partial(retrieve, code=code, compare=compare)
        test, train = (LabelledCodes(codes_NY[is_N], label_N[is_N]) for is_N in (is_test_N, ~is_test_N))
        alone, against = ranked(test).ranking, ranked(test, train).ranking
        unseen_map20 = [
            ranked(
                LabelledCodes(half.encode_features(features_ND[rows_N]), label_N[rows_N])
            ).ranking.map_at_k[20]
            for _, rows_N, half in unseen
        ]
        rows.append(
            {
                "bits": _bits(code, compare),
                "compare": compare,
                "map20": round(alone.map_at_k[20], 4),
                "map_all": round(alone.map_all, 4),
                "map_db_train": round(against.map_all, 4),
                "unseen_map20": round(float(np.mean(unseen_map20)), 4) if unseen_map20 else None,
                **_order(features_ND[is_test_N], test.codes_NY, label_N[is_test_N], code, compare),
                "distinct": round(code_health(_part(test.codes_NY, code, compare)).distinct_ratio, 4),
                "place10": _place(network, data, work, compare),
            }
        )
    return rows


def _unseen_rows(chips: pa.Table, names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the test chips of some classes."""
    of_class = pc.is_in(pc.list_element(chips["labels"], 0), pa.array(names))
    return np.flatnonzero(pc.and_(of_class, pc.equal(chips["split"], "test")).to_numpy(zero_copy_only=False))


def _bits(code: CodeSpec, compare: Compare) -> int:
    return code.bits if compare == "both" else next(part.bits for part in code.parts if part.name == compare)


def _part(codes_NY: Codes, code: CodeSpec, compare: Compare) -> Codes:
    return codes_NY if compare == "both" else np.ascontiguousarray(codes_NY[:, part_bytes(code)[compare]])


def _order(
    features_ND: NDArray[np.float32],
    codes_NY: Codes,
    labels_N: NDArray[np.int64],
    code: CodeSpec,
    compare: Compare,
) -> Row:
    lists = code_lists(codes_NY, codes_NY, code, compare)
    reference_ND = features_ND[:, -_REFERENCE:]
    found = order_figures(cosine_lists(reference_ND, reference_ND), labels_N, [lists])[0]
    assert found.in_class_recall10 is not None
    assert found.kept_recall10 is not None
    return {
        "in_class_recall10": round(found.in_class_recall10, 4),
        "kept_recall10": round(found.kept_recall10, 4),
        "tied10": found.tied10,
    }


def _place(network: HashNetwork, data: Path, work: Path, compare: Compare) -> float | None:
    """Return the chance that a chip's place in another year is among its ten nearest Landsat chips."""
    chips, places_N, years_N = _landsat(data)
    features = compute_features(chips, network, _store(), _features(work), f"{work}/features")
    codes_NY, code = network.encode_features(features.features_ND), network.network_spec.code
    found = place_recall(code_lists(codes_NY, codes_NY, code, compare), places_N, years_N)
    return None if found is None else round(found, 4)


def _landsat(data: Path) -> tuple[pa.Table, NDArray[np.int64], NDArray[np.int64]]:
    """Return the chips of the Landsat scenes, which place each shows, and which year."""
    rows, places, years = [], [], []
    scenes = sorted(_store().list(f"{data}/geotiff/landsat"), key=lambda info: info.uri)
    for year, info in enumerate(scenes):
        with rasterio.open(info.uri.removeprefix("file://")) as dataset:
            windows = list(grid_windows(dataset.width, dataset.height, Grid(_PLACE_SIDE)))
        for place, window in enumerate(windows):
            rows.append(
                {"uri": info.uri, "etag": info.etag, "window": dict(zip("xywh", window, strict=True))}
            )
            places.append(place)
            years.append(year)
    chips = pa.Table.from_pylist(rows).add_column(0, "row", pa.array(range(len(rows))))
    return chips, np.asarray(places), np.asarray(years)


def table(quality: Mapping[str, list[Row]]) -> Table:
    """Return the rows of all presets as a table."""
    drawn = Table("preset", *next(iter(quality.values()))[0])
    for preset, rows in quality.items():
        for row in rows:
            drawn.add_row(preset, *("" if value is None else str(value) for value in row.values()))
        drawn.add_section()
    return drawn


if __name__ == "__main__":
    main()
