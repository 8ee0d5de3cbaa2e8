"""The evaluation: labelled chips and a bundle in, figures and a page out.

Shapes: N chips, F features, Y bytes a code.
"""

import time
from dataclasses import asdict, dataclass

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from model.baselines import SignCodes, fit_itq, fit_pca, fit_sign, retrieve_by_cosine
from model.codes import Codes, binarise, pack
from model.metrics import code_health
from model.network import HashNetwork
from model.preprocess import preprocess
from model.retrieval import Ranking, Retrieval, retrieve
from pipelines.bundles import read_bundle, resolve_bundle
from pipelines.cluster import connected
from pipelines.errors import ConfigError
from pipelines.evaluate.config import EvaluateConfig
from pipelines.evaluate.figures import BUNDLE, COSINE, EvaluateReport, Figures, Protocol
from pipelines.evaluate.report import render
from pipelines.labels import SPLITS, Labels, load_chips, read_labels
from pipelines.storage import Store

log = structlog.get_logger()


@dataclass(frozen=True)
class EncodedSplit:
    """The chips of one split as the network sees them."""

    features_NF: NDArray[np.float32]
    codes_NY: Codes
    classes_N: NDArray[np.int64]


def run_evaluate(config: EvaluateConfig) -> EvaluateReport:
    """Measure, and write evaluation.json and evaluation.html. Needs a running Ray, or starts one here.

    Raises ConfigError where the manifest has no test or train chips to measure on, BundleError,
    StorageError where a URI leads nowhere.
    """
    started = time.monotonic()
    store = Store(config.store)
    store.require_bucket(config.output)
    labels = read_labels(config.manifest, store)
    _check_splits(labels, config.manifest)
    bundle_uri = resolve_bundle(config.bundle, config.tracking)
    manifest, network = read_bundle(bundle_uri, store)
    counts = {split: labels.count(split) for split in SPLITS if labels.count(split)}
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    with connected():
        splits = {split: encode_split(labels, split, network, store, config.batch_size) for split in counts}
    page = f"{config.output.rstrip('/')}/evaluation.html"
    report = EvaluateReport(
        model_id=manifest.model_id,
        bundle=bundle_uri,
        manifest=config.manifest,
        chips=counts,
        classes=len(labels.class_names),
        unseen_classes=sorted(set(labels.class_names) - set(manifest.class_names)),
        bits=manifest.network.num_bits,
        features=splits["test"].features_NF.shape[1],
        seed=config.seed,
        protocols=_measure(splits["test"], splits["train"], labels.class_names, config.seed),
        health={split: asdict(code_health(encoded.codes_NY)) for split, encoded in splits.items()},
        page=page,
        seconds=round(time.monotonic() - started, 1),
    )
    store.write(page.removesuffix("html") + "json", (report.model_dump_json(indent=2) + "\n").encode())
    store.write(page, render(report).encode())
    return report


def _check_splits(labels: Labels, uri: str) -> None:
    """Raise ConfigError unless queries have something to find, in both protocols."""
    chips = {
        split: [
            row for row in labels.chips.select(["split", "class_id"]).to_pylist() if row["split"] == split
        ]
        for split in ("test", "train")
    }
    test, train = ({row["class_id"] for row in rows} for rows in chips.values())
    if not test & train:
        raise ConfigError(f"manifest {uri}: no class has chips both in the split test and in train")
    if len(test) == len(chips["test"]):
        raise ConfigError(f"manifest {uri}: no class has two chips in the split test")


@torch.inference_mode()
def encode_split(
    labels: Labels, split: str, network: HashNetwork, store: Store, batch_size: int
) -> EncodedSplit:
    """Run a split's chips through the network once, for its codes and for the backbone's features."""
    device = next(network.parameters()).device
    features, outputs, classes = [], [], []
    for batch in load_chips(labels, split, network.input_spec.bands, store).iter_batches(
        batch_size=batch_size
    ):
        chips_BHWC = torch.from_numpy(batch["chip"].copy()).to(device)
        features_BF = network.backbone(preprocess(chips_BHWC, network.input_spec))
        features.append(features_BF.float().cpu().numpy())
        outputs.append(network.head(features_BF).float().cpu().numpy())
        classes.append(batch["class_id"])
    codes_NY = pack(binarise(np.concatenate(outputs)))
    return EncodedSplit(np.concatenate(features), codes_NY, np.concatenate(classes))


def _measure(
    test: EncodedSplit, train: EncodedSplit, class_names: tuple[str, ...], seed: int
) -> list[Protocol]:
    baselines = _fit_baselines(train.features_NF, test.codes_NY.shape[1] * 8, seed)
    return [
        measure_protocol("leave one out in test", test, test, baselines, class_names, leave_one_out=True),
        measure_protocol("test asks train", test, train, baselines, class_names, leave_one_out=False),
    ]


def _fit_baselines(features_NF: NDArray[np.float32], num_bits: int, seed: int) -> dict[str, SignCodes]:
    """Fit the baselines on the train split: they may see what the network saw, and no more."""
    baselines = {"sign of all features": fit_sign(features_NF)}
    if num_bits > features_NF.shape[1]:
        log.warning("no PCA or ITQ", features=features_NF.shape[1], bits=num_bits)
        return baselines
    return baselines | {
        "PCA + sign": fit_pca(features_NF, num_bits),
        "ITQ": fit_itq(features_NF, num_bits, seed),
    }


def measure_protocol(
    name: str,
    queries: EncodedSplit,
    database: EncodedSplit,
    baselines: dict[str, SignCodes],
    class_names: tuple[str, ...],
    *,
    leave_one_out: bool,
) -> Protocol:
    """Measure the bundle's codes and the baselines. Raises ValueError where no query has chips to find."""
    own_rows = np.arange(len(queries.classes_N)) if leave_one_out else None
    num_bits = database.codes_NY.shape[1] * 8
    learned = retrieve(queries.codes_NY, queries.classes_N, database.codes_NY, database.classes_N, own_rows)
    methods = [_code_figures(BUNDLE, learned, database.codes_NY, num_bits, class_names)]
    cosine = retrieve_by_cosine(
        queries.features_NF, queries.classes_N, database.features_NF, database.classes_N, own_rows
    )
    methods.append(_figures(COSINE, cosine, class_names))
    for method, codes in baselines.items():
        codes_NY = codes.encode(database.features_NF)
        queries_QY = codes.encode(queries.features_NF)
        answers = retrieve(queries_QY, queries.classes_N, codes_NY, database.classes_N, own_rows)
        methods.append(_code_figures(method, answers, codes_NY, codes.num_bits, class_names))
    return Protocol(
        name=name,
        queries=learned.ranking.queries,
        unanswerable=learned.ranking.unanswerable,
        database=len(database.classes_N),
        methods=methods,
        same_class=learned.same_D.tolist(),
        different_class=learned.different_D.tolist(),
    )


def _code_figures(
    method: str, answers: Retrieval, codes_NY: Codes, bits: int, class_names: tuple[str, ...]
) -> Figures:
    return _figures(method, answers.ranking, class_names).model_copy(
        update={
            "bits": bits,
            "precision_within_2": answers.precision_within_2,
            "distinct_ratio": len(np.unique(codes_NY, axis=0)) / len(codes_NY),
        }
    )


def _figures(method: str, ranking: Ranking, class_names: tuple[str, ...]) -> Figures:
    return Figures(
        method=method,
        bits=None,
        map_all=ranking.map_all,
        map_at_k=dict(ranking.map_at_k),
        precision_at_k=dict(ranking.precision_at_k),
        recall_at_k=dict(ranking.recall_at_k),
        map_of_class={class_names[class_id]: value for class_id, value in ranking.map_of_class.items()},
        precision_within_2=None,
        distinct_ratio=None,
    )
