"""How well the codes of each preset retrieve: `python -m benchmarks.quality --data ../shared/data`.

Trains on 60 % of AID (30 classes, 150 pixels), measures on the other 40 %: leave-one-out among them, and
with the training side as the database. Everything is done by the jobs' own code. Seed A's fine-tuning takes
most of an hour on two cores: it is trained with ``--train-seed-a`` only, measured again with
``--seed-a-bundle``.
"""

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipelines.cluster import connected
from pipelines.config import FeatureConfig, TrackingConfig
from pipelines.evaluate.config import EvaluateConfig
from pipelines.evaluate.figures import Figures, Protocol
from pipelines.evaluate.run import run_evaluate
from pipelines.labels import SplitConfig
from pipelines.train.config import TrainConfig
from pipelines.train.run import run_train

# the recipes were chosen on a tenth of the training side; the figures are of all of it
_SPLIT = SplitConfig(validation_share=0)
INCEPTION = "inception_v3_to_mixed_7a.fp16.safetensors"
_GOOGLENET = "bvlc_googlenet.fp16.safetensors"


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    preset: str
    bits: int


_FROZEN = (Case("default", 64), Case("default", 32), Case("default", 16), Case("seed_b", 64))
_SEED_A = Case("seed_a", 48)


def main() -> None:
    """Train, measure, print a table, and the figures as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_folders(parser)
    parser.add_argument("--train-seed-a", action="store_true", help="fine-tune seed A (most of an hour)")
    parser.add_argument("--seed-a-bundle", help="measure this bundle of seed A again: URI")
    arguments = parser.parse_args()
    data, work = open_folders(arguments)
    with connected():
        rows = [(case, evaluate(train(case, data, work), data, work)) for case in _FROZEN]
        bundle = train(_SEED_A, data, work) if arguments.train_seed_a else arguments.seed_a_bundle
        if bundle:
            rows.append((_SEED_A, evaluate(bundle, data, work)))
    Console().print(table(rows))
    quality: dict[str, list[dict[str, float]]] = {}
    for case, protocols in rows:
        quality.setdefault(case.preset, []).append(figures(case, protocols))
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
    parser.add_argument(
        "--work", type=Path, default=Path("benchmark-output"), help="bundles, features, reports"
    )


def open_folders(arguments: argparse.Namespace) -> tuple[Path, Path]:
    """Return data and work, absolute; make the user's backbones importable here and in what Ray starts."""
    data, work = open_data(arguments), arguments.work.resolve()
    backbones = str(data.parent / "backbones")
    sys.path.insert(0, backbones)
    os.environ["PYTHONPATH"] = os.pathsep.join([backbones, os.environ.get("PYTHONPATH", "")])
    return data, work


def train(case: Case, data: Path, work: Path) -> str:
    """Train a preset; return the URI of its bundle."""
    network: dict[str, object] = {"kind_bits": case.bits}
    settings: dict[str, object] = {"weights": f"{data}/weights/{INCEPTION}"}
    if case == _SEED_A:
        network |= {"backbone": "bvlc_googlenet:features", "node": ""}
        settings = {"weights": f"{data}/weights/{_GOOGLENET}", "input": {"size": 136}}
    config = TrainConfig.model_validate(
        {
            "source": f"{data}/aid150",
            "bundles": f"{work}/bundles",
            "name": f"{case.preset}_{case.bits}",
            "preset": case.preset,
            "promote": "always",
            "split": _SPLIT,
            "network": network,
            "features": FeatureConfig(cache=f"{work}/features"),
            "workers": 0,
            "tracking": _tracking(work),
            **settings,
        }
    )
    bundle = run_train(config).bundle
    assert bundle is not None
    return bundle


def evaluate(bundle: str, data: Path, work: Path) -> list[Protocol]:
    """Measure a bundle on the test side; its page is written below ``work``."""
    config = EvaluateConfig(
        bundle=bundle,
        source=f"{data}/aid150",
        output=f"{work}/evaluations/{Path(bundle).name}",
        split=_SPLIT,
        features=FeatureConfig(cache=f"{work}/features"),
        tracking=_tracking(work),
    )
    return run_evaluate(config).protocols


def _tracking(work: Path) -> TrackingConfig:
    work.mkdir(parents=True, exist_ok=True)
    return TrackingConfig(uri=f"sqlite:///{work}/mlflow.db")


def figures(case: Case, protocols: list[Protocol]) -> dict[str, float]:
    """Return what the last line says of a preset at a length."""
    alone, database_is_train = (protocol.methods[0] for protocol in protocols[:2])
    return {
        "bits": case.bits,
        "map20": round(alone.map_at_k[20], 4),
        "map_all": round(alone.map_all, 4),
        "map_db_train": round(database_is_train.map_all, 4),
        "distinct": round(alone.distinct_ratio or 0, 4),
    }


def table(rows: list[tuple[Case, list[Protocol]]]) -> Table:
    """Return all methods of all presets, the baselines under each."""
    drawn = Table("preset", "method", "bits", "mAP@20", "mAP", "db = train", "distinct")
    for case, protocols in rows:
        for alone, database_is_train in zip(protocols[0].methods, protocols[1].methods, strict=True):
            drawn.add_row(case.preset, *_cells(alone, database_is_train))
        drawn.add_section()
    return drawn


def _cells(alone: Figures, database_is_train: Figures) -> list[str]:
    distinct = "" if alone.distinct_ratio is None else f"{alone.distinct_ratio:.3f}"
    shown = [alone.map_at_k[20], alone.map_all, database_is_train.map_all]
    return [alone.method, str(alone.bits or "float"), *(f"{value:.3f}" for value in shown), distinct]


if __name__ == "__main__":
    main()
