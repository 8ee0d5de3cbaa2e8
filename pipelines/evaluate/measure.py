"""What is measured: who asks in which database, with the bundle's codes and with the baselines'.

Shapes: N chips, F features, Y bytes a code, C classes, Q queries, D distances.
"""

from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import NDArray

from model.baselines import SignCodes, fit_itq, fit_pca, fit_sign, retrieve_by_cosine
from model.codes import Codes
from model.retrieval import Labels, Retrieval, retrieve
from pipelines.errors import ConfigError
from pipelines.evaluate.figures import (
    BUNDLE,
    COSINE,
    LEAVE_ONE_OUT,
    TEST_ASKS_TRAIN,
    UNSEEN,
    Figures,
    Protocol,
)

log = structlog.get_logger()

_CURVE_STEP = 0.005  # of recall or precision between two points of a curve that is kept


@dataclass(frozen=True)
class EncodedChips:
    """Chips as the network sees them."""

    features_NF: NDArray[np.float32]
    codes_NY: Codes
    labels_N: Labels
    """Class ids, or multi-hot labels_NC; both count in the source's class names."""

    def select(self, chosen_N: NDArray[np.bool_]) -> "EncodedChips":
        """Return some of the chips."""
        return EncodedChips(self.features_NF[chosen_N], self.codes_NY[chosen_N], self.labels_N[chosen_N])


@dataclass(frozen=True)
class Measured:
    """All protocols, and how well each query of the first one went."""

    protocols: list[Protocol]
    average_precision_Q: NDArray[np.float64]
    """Of each test chip, leave one out; NaN where it has nothing to find."""


def count_classes(labels_N: Labels, num_classes: int) -> NDArray[np.int64]:
    """Return counts_C: the chips of each class."""
    if labels_N.ndim == 2:
        return np.asarray(labels_N.sum(axis=0, dtype=np.int64))
    return np.bincount(labels_N, minlength=num_classes)


def check_splits(test_N: Labels, train_N: Labels, num_classes: int, source: str) -> None:
    """Raise ConfigError unless queries have something to find, in test and in train."""
    test_C, train_C = (count_classes(labels_N, num_classes) for labels_N in (test_N, train_N))
    if not ((test_C > 0) & (train_C > 0)).any():
        raise ConfigError(f"source {source}: no class has chips both in the split test and in train")
    if test_C.max() < 2:
        raise ConfigError(f"source {source}: no class has two chips in the split test")


def measure(
    test: EncodedChips, train: EncodedChips, class_names: tuple[str, ...], unseen: list[str], seed: int
) -> Measured:
    """Measure every protocol: leave one out, test asks train, and among ``unseen`` classes where there are.

    The baselines are fitted on train: they may see what the network saw, and no more. Raises ValueError
    where no query has a chip to find (see `check_splits`).
    """
    baselines = _fit_baselines(train.features_NF, test.codes_NY.shape[1] * 8, seed)
    first, average_precision_Q = measure_protocol(
        LEAVE_ONE_OUT, test, test, baselines, class_names, leave_one_out=True
    )
    second, _ = measure_protocol(TEST_ASKS_TRAIN, test, train, baselines, class_names, leave_one_out=False)
    protocols = [first, second]
    among_unseen = select_classes(test, [class_names.index(name) for name in unseen])
    if count_classes(among_unseen.labels_N, len(class_names)).max(initial=0) > 1:
        third, _ = measure_protocol(
            UNSEEN, among_unseen, among_unseen, baselines, class_names, leave_one_out=True
        )
        protocols.append(third)
    return Measured(protocols, average_precision_Q)


def select_classes(chips: EncodedChips, class_ids: list[int]) -> EncodedChips:
    """Return the chips of some classes; of several labels a chip, those classes alone are kept."""
    if chips.labels_N.ndim == 1:
        return chips.select(np.isin(chips.labels_N, class_ids))
    labels_NC = np.zeros(chips.labels_N.shape, np.bool_)
    labels_NC[:, class_ids] = chips.labels_N[:, class_ids]
    return EncodedChips(chips.features_NF, chips.codes_NY, labels_NC).select(
        np.asarray(labels_NC.any(axis=1))
    )


def _fit_baselines(features_NF: NDArray[np.float32], num_bits: int, seed: int) -> dict[str, SignCodes]:
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
    queries: EncodedChips,
    database: EncodedChips,
    baselines: dict[str, SignCodes],
    class_names: tuple[str, ...],
    *,
    leave_one_out: bool,
) -> tuple[Protocol, NDArray[np.float64]]:
    """Measure the bundle's codes and the baselines; return the bundle's average_precision_Q too.

    Raises ValueError where no query has chips to find.
    """
    own_rows_Q = np.arange(len(queries.labels_N)) if leave_one_out else None
    num_bits = database.codes_NY.shape[1] * 8
    learned = retrieve(queries.codes_NY, queries.labels_N, database.codes_NY, database.labels_N, own_rows_Q)
    methods = [_code_figures(BUNDLE, learned, database.codes_NY, num_bits, class_names)]
    cosine = retrieve_by_cosine(
        queries.features_NF, queries.labels_N, database.features_NF, database.labels_N, own_rows_Q
    )
    methods.append(_figures(COSINE, cosine, class_names))
    for method, codes in baselines.items():
        codes_NY = codes.encode(database.features_NF)
        queries_QY = codes.encode(queries.features_NF)
        answers = retrieve(queries_QY, queries.labels_N, codes_NY, database.labels_N, own_rows_Q)
        methods.append(_code_figures(method, answers, codes_NY, codes.num_bits, class_names))
    protocol = Protocol(
        name=name,
        queries=learned.ranking.queries,
        unanswerable=learned.ranking.unanswerable,
        database=len(database.labels_N),
        methods=methods,
        same_class=learned.same_D.tolist(),
        different_class=learned.different_D.tolist(),
    )
    return protocol, learned.ranking.average_precision_Q


def _code_figures(
    method: str, answers: Retrieval, codes_NY: Codes, bits: int, class_names: tuple[str, ...]
) -> Figures:
    within_D = answers.precision_within_D
    assert within_D is not None  # noqa: S101 - for mypy: only float vectors have none
    return _figures(method, answers, class_names).model_copy(
        update={
            "bits": bits,
            "precision_within_2": float(within_D[2]),
            "precision_within": within_D[: bits + 1].tolist(),
            "distinct_ratio": len(np.unique(codes_NY, axis=0)) / len(codes_NY),
        }
    )


def _figures(method: str, answers: Retrieval, class_names: tuple[str, ...]) -> Figures:
    ranking = answers.ranking
    return Figures(
        method=method,
        bits=None,
        map_all=ranking.map_all,
        map_at_k=dict(ranking.map_at_k),
        precision_at_k=dict(ranking.precision_at_k),
        recall_at_k=dict(ranking.recall_at_k),
        map_of_class={class_names[class_id]: value for class_id, value in ranking.map_of_class.items()},
        precision_recall=curve(answers),
        precision_within_2=None,
        precision_within=None,
        distinct_ratio=None,
    )


def curve(answers: Retrieval) -> list[tuple[float, float]]:
    """Return (recall, precision) within each distance, over all pairs; points that lie too close left out."""
    with_pairs_D = ~np.isnan(answers.precision_by_radius)
    recall_D, precision_D = answers.recall_by_radius[with_pairs_D], answers.precision_by_radius[with_pairs_D]
    points = list(zip(recall_D.tolist(), precision_D.tolist(), strict=True))
    kept = points[:1]
    for point in points[1:-1]:
        if max(abs(point[axis] - kept[-1][axis]) for axis in range(2)) >= _CURVE_STEP:
            kept.append(point)
    return kept + points[1:][-1:]
