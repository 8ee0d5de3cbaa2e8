"""The chance distance: how near an unrelated chip comes by chance, estimated from a sample of the table.

The sample is the chips with the smallest chip ids. Chip ids are hashes, so this is a random sample, and it is
the same for any number of shards.

Many pairs of chips are related: in a table that is mostly sea, most pairs are. Related pairs have small
distances, so they distort the lower end of the distribution, but not its middle and its upper end. So the
lower end for unrelated pairs is assumed to lie as far below the median as the upper end lies above it.

Shapes: S chips of the sample, Y bytes a code, K bits, D distances from 0.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.codes import unpack
from pipelines.hamming.comparison import Comparison
from pipelines.index.table_index import SAMPLE
from pipelines.serve.pools import WorkPool
from pipelines.serve.question import Question, Sample, SnapshotId
from pipelines.serve.ranking import Ranking

_SAMPLE_BY_VALUES = 512  # chips; fewer, because each image has its own bit weights: no result can be reused
_SHARE = 0.01  # probability that an unrelated chip lies within the chance distance
_BLOCK = 256  # rows of the sample that are compared with all others at once
_MOST_KEPT = 8  # versions of the table
_MEASURING = WorkPool("chance", 1)


@dataclass
class _Measured:
    """The sample of one version of the table, and the chance distance for each comparison so far."""

    sample_SY: NDArray[np.uint8]
    distances: dict[Comparison, float] = field(default_factory=dict)


class ChanceDistances:
    """Computes the chance distance of a table's version once for each comparison, and keeps it."""

    def __init__(self, sample: Callable[[SnapshotId], Awaitable[Sample]]) -> None:
        """``sample`` returns the chips of each shard with the smallest ids, for one snapshot."""
        self._sample_of = sample
        self._measured: dict[tuple[str, int], _Measured] = {}

    async def distance(self, question: Question, snapshot_id: SnapshotId) -> float | None:
        """Return the distance within which an unrelated chip lies with probability .01 [bits].

        None for several examples, because the distribution of a mean distance depends on how alike the
        examples are; None if the table has fewer than two chips. Raises what ``sample`` raises.
        """
        if len(question.example_ids) > 1:
            return None
        ranking = Ranking.of(question.request, snapshot_id.code)
        version = (snapshot_id.model_id, snapshot_id.version)
        measured = self._measured.get(version)
        if measured is None:
            measured = self._measured[version] = _Measured(await self._sample(snapshot_id))
            for old in list(self._measured)[:-_MOST_KEPT]:
                del self._measured[old]
        if len(measured.sample_SY) < 2:
            return None
        if ranking.bit_weights is not None:
            sample_SY = measured.sample_SY[:_SAMPLE_BY_VALUES]
            return await _MEASURING.run(chance_distance, sample_SY, ranking)
        if ranking.comparison not in measured.distances:
            measured.distances[ranking.comparison] = await _MEASURING.run(
                chance_distance, measured.sample_SY, ranking
            )
        return measured.distances[ranking.comparison]

    async def _sample(self, snapshot_id: SnapshotId) -> NDArray[np.uint8]:
        """Return the codes of the sample."""
        chips = sorted(await self._sample_of(snapshot_id))[:SAMPLE]
        codes = np.frombuffer(b"".join(code for _, code in chips), np.uint8)
        return codes.reshape(-1, snapshot_id.code.bits // 8)


def chance_distance(sample_SY: NDArray[np.uint8], ranking: Ranking) -> float:
    """Return the distance within which two unrelated chips lie with probability .01 [bits].

    With q(p) the p-quantile of the distances of all pairs, it is the greater of 2 q(.5) - q(.99) and q(.01).
    Related pairs can only make q(.01) smaller, so it is a lower bound.
    """
    weights_K = ranking.full_weights.astype(np.float32)
    bits_SK = unpack(sample_SY).astype(np.float32)
    sums_S = bits_SK @ weights_K
    counts_D = np.zeros(int(weights_K.sum()) + 1, np.int64)
    for first in range(0, len(bits_SK), _BLOCK):
        rows = slice(first, first + _BLOCK)
        common_SS = (bits_SK[rows] * weights_K) @ bits_SK[first:].T
        # whole numbers below 2^24, so float32 is exact
        distances_SS = sums_S[rows, None] + sums_S[None, first:] - 2 * common_SS
        pairs = distances_SS[np.triu_indices(len(distances_SS), 1, distances_SS.shape[1])]
        counts_D += np.bincount(pairs.astype(np.int64), minlength=counts_D.size)
    shares_D = counts_D.cumsum() / counts_D.sum()
    low, middle, high = np.searchsorted(shares_D, [_SHARE, 0.5, 1 - _SHARE]).tolist()
    return float(max(low, 2 * middle - high)) / ranking.unit
