"""The overview: a row of figures for each method, on classes, order, ties, turned views and places.

`figures.MethodOverview` defines the figures; `model.order` and `model.retrieval` compute them.

Shapes: N chips, Q queries.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.order import NEAREST, cosine_lists, found_share, order_figures, place_recall
from pipelines.evaluate.figures import COSINE, LEAVE_ONE_OUT, UNSEEN, MethodOverview, Protocol
from pipelines.evaluate.measure import has_pair, select_classes
from pipelines.evaluate.methods import EncodedChips, Method, distinct_ratio


@dataclass(frozen=True)
class Turned:
    """Chips turned by 90 degrees."""

    chips: EncodedChips
    rows_Q: NDArray[np.int64]
    """The row of each among the test chips that aren't turned."""


@dataclass(frozen=True)
class PlacedChips:
    """Chips of places at several dates."""

    chips: EncodedChips
    """Without labels: all have the class 0."""
    places_N: NDArray[np.int64]
    """Number of each chip's footprint: equal ones are the same place."""
    dates_N: NDArray[np.int64]
    """Number of its date."""


def measure_overviews(
    methods: Sequence[Method],
    protocols: Sequence[Protocol],
    test: EncodedChips,
    turned: Turned,
    placed: PlacedChips | None,
    trained: list[int] | None,
) -> list[MethodOverview]:
    """Return a row for each method, in their order.

    ``trained`` are the ids of the classes that the bundle was trained on; None: all classes. ``placed`` is
    None if no scenes of several dates are given.
    """
    orders = order_figures(
        cosine_lists(test.features_NF, test.features_NF),
        test.labels_N,
        [method.lists(test, test) for method in methods],
    )
    of_trained = None if trained is None else select_classes(test, trained)
    rows = []
    for method, order in zip(methods, orders, strict=True):
        is_cosine = method.name == COSINE
        turned_lists = method.lists(turned.chips, test)
        rows.append(
            MethodOverview(
                method=method.name,
                bits=method.bits,
                compare=method.compare,
                trained_map20=_trained_map20(method, protocols, of_trained),
                unseen_map20=_map20(method, protocols, UNSEEN),
                # cosine compared with itself: only ties could take it below 1
                in_class_recall10=_one(order.in_class_recall10) if is_cosine else order.in_class_recall10,
                kept_recall10=_one(order.kept_recall10) if is_cosine else order.kept_recall10,
                tied10=order.tied10,
                distinct=distinct_ratio(method, test),
                turned_first=found_share(turned_lists, turned.rows_Q, 1),
                turned_first10=found_share(turned_lists, turned.rows_Q, min(NEAREST, turned_lists.rows)),
                place10=placed
                and place_recall(method.lists(placed.chips, placed.chips), placed.places_N, placed.dates_N),
            )
        )
    return rows


def _trained_map20(
    method: Method, protocols: Sequence[Protocol], of_trained: EncodedChips | None
) -> float | None:
    """Return mAP@20, leave one out, among the chips of trained classes; None if no two share a class."""
    if of_trained is None:
        return _map20(method, protocols, LEAVE_ONE_OUT)  # all classes are trained: it is measured already
    if not has_pair(of_trained.labels_N):
        return None
    answers = method.retrieve(of_trained, of_trained, np.arange(len(of_trained.labels_N)))
    return answers.ranking.map_at_k[20]


def _map20(method: Method, protocols: Sequence[Protocol], name: str) -> float | None:
    """Return the method's mAP@20 in the protocol of that name; None if there is no such protocol."""
    return next(
        (
            figures.map_at_k[20]
            for protocol in protocols
            if protocol.name == name
            for figures in protocol.methods
            if figures.method == method.name
        ),
        None,
    )


def _one(figure: float | None) -> float | None:
    return None if figure is None else 1.0
