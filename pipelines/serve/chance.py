"""How near a chip lies by chance: told from the distances between some of the table's own chips.

These are the chips with the least chip ids. Chip ids are hashes, so this is a random sample, and it is the
same one however many shards there are.

The two chips of a pair often have something to do with each other: in a table that is mostly sea, most do.
Such pairs are near, so they fill the lower end of the distances, but neither the middle nor the upper end. So
the lower end of the other pairs is taken to lie as far below the median as the upper end lies above it.

Shapes: S chips of the sample, Y bytes a code, K bits, D distances from 0.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.codes import unpack
from pipelines.hamming.comparison import Comparison
from pipelines.index.archive import SAMPLE
from pipelines.serve.pools import WorkPool
from pipelines.serve.question import Question, Sample, Source
from pipelines.serve.ranking import Ranking

_SAMPLE_BY_VALUES = 512  # fewer: each picture weighs the bits in its own way, so nothing can be kept
_SHARE = 0.01
_BLOCK = 256  # rows of the sample that are compared with all others at a time
_MOST_KEPT = 8  # versions of the table
_MEASURING = WorkPool("chance", 1)


@dataclass
class _Measured:
    """One version of the table."""

    sample_SY: NDArray[np.uint8]
    distances: dict[Comparison, float] = field(default_factory=dict)


class ChanceDistances:
    """Measures a version of the table once for each comparison."""

    def __init__(self, sample: Callable[[Source], Awaitable[Sample]]) -> None:
        """``sample`` returns, of a snapshot, the chips of each shard whose ids come first."""
        self._sample_of = sample
        self._measured: dict[tuple[str, int], _Measured] = {}

    async def distance(self, question: Question, source: Source) -> float | None:
        """Return the distance within which a chip lies by chance with probability .01 [bits].

        None with several examples: what chance gives for a mean distance depends on how alike they are. None
        where the table has fewer than two chips. Raises what getting the sample does.
        """
        if len(question.example_ids) > 1:
            return None
        ranking = Ranking.of(question.request, source.code)
        version = (source.model_id, source.version)
        measured = self._measured.get(version)
        if measured is None:
            measured = self._measured[version] = _Measured(await self._sample(source))
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

    async def _sample(self, source: Source) -> NDArray[np.uint8]:
        """Return the codes of the sample's chips."""
        chips = sorted(await self._sample_of(source))[:SAMPLE]
        codes = np.frombuffer(b"".join(code for _, code in chips), np.uint8)
        return codes.reshape(-1, source.code.bits // 8)


def chance_distance(sample_SY: NDArray[np.uint8], ranking: Ranking) -> float:
    """Return the distance within which two chips that have nothing to do with each other lie in .01 of cases.

    That is as far below the median of all pairs as the largest hundredth lies above it; but no less than the
    distance within which a hundredth of all pairs lie, as pairs that are alike can only make that smaller.
    """
    weights_K = ranking.full_weights.astype(np.float32)
    bits_SK = unpack(sample_SY).astype(np.float32)
    sums_S = bits_SK @ weights_K
    counts_D = np.zeros(int(weights_K.sum()) + 1, np.int64)
    for first in range(0, len(bits_SK), _BLOCK):
        rows = slice(first, first + _BLOCK)
        common_SS = (bits_SK[rows] * weights_K) @ bits_SK[first:].T
        distances_SS = sums_S[rows, None] + sums_S[None, first:] - 2 * common_SS  # whole, and below 2^24
        pairs = distances_SS[np.triu_indices(len(distances_SS), 1, distances_SS.shape[1])]
        counts_D += np.bincount(pairs.astype(np.int64), minlength=counts_D.size)
    shares_D = counts_D.cumsum() / counts_D.sum()
    low, middle, high = np.searchsorted(shares_D, [_SHARE, 0.5, 1 - _SHARE]).tolist()
    return float(max(low, 2 * middle - high)) / ranking.unit
