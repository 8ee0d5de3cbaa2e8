"""The protocols: which chips are queries and which are the database, and the figures of each method's lists.

Shapes: N chips, C classes, Q queries, D distances.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.retrieval import Labels, Retrieval
from pipelines.errors import ConfigError
from pipelines.evaluate.figures import LEAVE_ONE_OUT, TEST_ASKS_TRAIN, UNSEEN, Figures, Protocol
from pipelines.evaluate.methods import EncodedChips, Method, distinct_ratio

_CURVE_STEP = 0.005  # of recall or precision between two points of a curve that is kept


@dataclass(frozen=True)
class Measured:
    """All protocols, and the average precision of each query of the first one."""

    protocols: list[Protocol]
    average_precision_Q: NDArray[np.float64]
    """Of each test chip, leave one out; NaN if no other chip shares its class."""


def count_classes(labels_N: Labels, num_classes: int) -> NDArray[np.int64]:
    """Return counts_C: the number of chips of each class."""
    if labels_N.ndim == 2:
        return np.asarray(labels_N.sum(axis=0, dtype=np.int64))
    return np.bincount(labels_N, minlength=num_classes)


def check_splits(test_N: Labels, train_N: Labels, num_classes: int, source: str) -> None:
    """Raise ConfigError unless some query has a chip of its class to find, in test and in train."""
    test_C, train_C = (count_classes(labels_N, num_classes) for labels_N in (test_N, train_N))
    if not ((test_C > 0) & (train_C > 0)).any():
        raise ConfigError(f"source {source}: no class has chips both in the split test and in train")
    if test_C.max() < 2:
        raise ConfigError(f"source {source}: no class has two chips in the split test")


def measure(
    methods: Sequence[Method],
    test: EncodedChips,
    train: EncodedChips,
    class_names: tuple[str, ...],
    unseen: list[str],
) -> Measured:
    """Measure every protocol: leave one out, test asks train, and among ``unseen`` classes if there are any.

    Raises ValueError if no query has a chip to find (see `check_splits`).
    """
    first, average_precision_Q = measure_protocol(
        LEAVE_ONE_OUT, test, test, methods, class_names, leave_one_out=True
    )
    second, _ = measure_protocol(TEST_ASKS_TRAIN, test, train, methods, class_names, leave_one_out=False)
    protocols = [first, second]
    among_unseen = select_classes(test, [class_names.index(name) for name in unseen])
    if has_pair(among_unseen.labels_N):
        third, _ = measure_protocol(
            UNSEEN, among_unseen, among_unseen, methods, class_names, leave_one_out=True
        )
        protocols.append(third)
    return Measured(protocols, average_precision_Q)


def select_classes(chips: EncodedChips, class_ids: list[int]) -> EncodedChips:
    """Return the chips of some classes; if chips have several labels, labels of other classes are removed."""
    if chips.labels_N.ndim == 1:
        return chips.select(np.isin(chips.labels_N, class_ids))
    labels_NC = np.zeros(chips.labels_N.shape, np.bool_)
    labels_NC[:, class_ids] = chips.labels_N[:, class_ids]
    return EncodedChips(chips.features_NF, chips.codes_NY, labels_NC).select(
        np.asarray(labels_NC.any(axis=1))
    )


def has_pair(labels_N: Labels) -> bool:
    """Return whether any two chips share a class."""
    return bool(count_classes(labels_N, 0).max(initial=0) > 1)


def measure_protocol(
    name: str,
    queries: EncodedChips,
    database: EncodedChips,
    methods: Sequence[Method],
    class_names: tuple[str, ...],
    *,
    leave_one_out: bool,
) -> tuple[Protocol, NDArray[np.float64]]:
    """Measure all methods, of which the bundle is the first; return also the bundle's average_precision_Q.

    Raises ValueError if no query has a chip to find.
    """
    own_rows_Q = np.arange(len(queries.labels_N)) if leave_one_out else None
    answers = [method.retrieve(queries, database, own_rows_Q) for method in methods]
    learned = answers[0]
    protocol = Protocol(
        name=name,
        queries=learned.ranking.queries,
        unanswerable=learned.ranking.unanswerable,
        database=len(database.labels_N),
        methods=[
            _figures(method, of_method, database, class_names)
            for method, of_method in zip(methods, answers, strict=True)
        ],
        same_class=learned.same_D.tolist(),
        different_class=learned.different_D.tolist(),
    )
    return protocol, learned.ranking.average_precision_Q


def _figures(
    method: Method, answers: Retrieval, database: EncodedChips, class_names: tuple[str, ...]
) -> Figures:
    ranking, within_D = answers.ranking, answers.precision_within_D
    if within_D is not None and method.bits is not None and method.code is None:
        within_D = within_D[: method.bits + 1]  # the bits that fill up the last byte never differ
    return Figures(
        method=method.name,
        bits=method.bits,
        map_all=ranking.map_all,
        map_at_k=dict(ranking.map_at_k),
        precision_at_k=dict(ranking.precision_at_k),
        recall_at_k=dict(ranking.recall_at_k),
        map_of_class={class_names[class_id]: value for class_id, value in ranking.map_of_class.items()},
        precision_recall=curve(answers),
        precision_within_2=None if within_D is None else float(within_D[2]),
        precision_within=None if within_D is None else within_D.tolist(),
        distinct_ratio=distinct_ratio(method, database),
    )


def curve(answers: Retrieval) -> list[tuple[float, float]]:
    """Return (recall, precision) within each distance, over all pairs; points close together are left out."""
    with_pairs_D = ~np.isnan(answers.precision_by_radius)
    recall_D, precision_D = answers.recall_by_radius[with_pairs_D], answers.precision_by_radius[with_pairs_D]
    points = list(zip(recall_D.tolist(), precision_D.tolist(), strict=True))
    kept = points[:1]
    for point in points[1:-1]:
        if max(abs(point[axis] - kept[-1][axis]) for axis in range(2)) >= _CURVE_STEP:
            kept.append(point)
    return kept + points[1:][-1:]
