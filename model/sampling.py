"""The batches of an epoch: P classes with K chips each, or all chips in a random order.

Shapes: N chips, C classes, B chips a batch.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def draw_batches(
    labels_NC: NDArray[np.bool_], batch_size: int, chips_per_class: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Yield rows_B of one epoch: ``N // batch_size`` batches of P = B / K classes with K chips each.

    K is ``chips_per_class``. If it is 0, the batches hold the chips in a random order, each at most once.

    Classes take turns, so that all come up equally often, whatever their size; so do the chips of a class.
    A chip with several labels comes up for each of them. If there are fewer than P classes, each gives more
    chips. The same seed gives the same batches, on every worker. Raises ValueError if there are fewer chips
    than a batch needs.
    """
    if len(labels_NC) < batch_size:
        raise ValueError(f"{len(labels_NC)} training chips don't fill a batch of {batch_size}")
    rng = np.random.default_rng(seed)
    if not chips_per_class:
        whole = len(labels_NC) // batch_size * batch_size
        yield from rng.permutation(len(labels_NC))[:whole].reshape(-1, batch_size)
        return
    chips_of_class = [np.flatnonzero(labels_N) for labels_N in labels_NC.T if labels_N.any()]
    classes_a_batch = min(max(1, batch_size // chips_per_class), len(chips_of_class))
    chips = [_turns(rows, rng) for rows in chips_of_class]
    times_C = np.zeros(len(chips), np.int64)
    for _ in range(len(labels_NC) // batch_size):
        chosen = np.lexsort((rng.random(len(chips)), times_C))[:classes_a_batch]  # those least drawn so far
        times_C[chosen] += 1
        yield np.asarray([next(chips[chosen[i % classes_a_batch]]) for i in range(batch_size)])


def _turns(items: NDArray[np.int64], rng: np.random.Generator) -> Iterator[int]:
    """Yield all items in a random order, then all again in another, without end."""
    while True:
        yield from rng.permutation(items).tolist()
