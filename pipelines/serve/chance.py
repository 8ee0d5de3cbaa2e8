"""How near a chip lies by chance: measured between some of the table's own chips.

These are the chips with the least chip ids. Chip ids are hashes, so this is a random sample, and it is the
same one however many shards there are.

Shapes: S chips of the sample, Y bytes a code, K bits.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.codes import unpack
from pipelines.index.chance import SAMPLE, chance_distance
from pipelines.index.comparison import Comparison
from pipelines.serve.question import Question, Sample, Source
from pipelines.serve.ranking import Ranking

_SAMPLE_BY_VALUES = 512  # fewer: each picture weighs the bits in its own way, so nothing can be kept
_SHARE = 0.01
_MOST_KEPT = 8  # versions of the table


@dataclass
class _Measured:
    """One version of the table."""

    sample_SY: NDArray[np.uint8]
    distances: dict[Comparison, int] = field(default_factory=dict)


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
            return await asyncio.to_thread(_chance_by_values, measured.sample_SY, ranking)
        if ranking.comparison not in measured.distances:
            measured.distances[ranking.comparison] = await asyncio.to_thread(
                chance_distance, measured.sample_SY, ranking.part_bits, ranking.comparison
            )
        return measured.distances[ranking.comparison]

    async def _sample(self, source: Source) -> NDArray[np.uint8]:
        """Return the codes of the sample's chips."""
        chips = sorted(await self._sample_of(source))[:SAMPLE]
        codes = np.frombuffer(b"".join(code for _, code in chips), np.uint8)
        return codes.reshape(-1, source.code.bits // 8)


def _chance_by_values(sample_SY: NDArray[np.uint8], ranking: Ranking) -> float:
    """Return the distance where each bit has a weight of its own: the sample is compared by these."""
    bits_SK = unpack(sample_SY[:_SAMPLE_BY_VALUES]).astype(np.float32)
    weighted_SK = bits_SK * ranking.full_weights.astype(np.float32)
    sums_S = weighted_SK.sum(axis=1)
    distances_SS = sums_S[:, None] + sums_S[None] - 2 * (weighted_SK @ bits_SK.T)  # whole, and below 2^24
    pairs = np.sort(distances_SS[np.triu_indices(len(bits_SK), 1)])
    return float(pairs[int(np.ceil(_SHARE * pairs.size)) - 1]) / ranking.unit
