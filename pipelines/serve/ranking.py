"""How the chips of an answer are ranked: which parts of the codes count, and how much each bit does.

Shapes: K bits.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.spec import CodeSpec
from pipelines.api.requests import SearchRequest
from pipelines.hamming.comparison import Comparison
from pipelines.index.part_weights import comparison_of

USUAL_WEIGHT = 8
"""Average weight of a bit where a search ranks by values (`model.bit_weights`)."""


@dataclass(frozen=True)
class Ranking:
    """What a request's distances are made of."""

    code: CodeSpec
    comparison: Comparison
    bit_weights: str | None
    """One hex digit a bit; None: all bits of a part count alike."""

    @classmethod
    def of(cls, request: SearchRequest, code: CodeSpec) -> "Ranking":
        """Return how a request's answer is ranked. Raises ComparisonError."""
        comparison = comparison_of(code, request.compare, request.kind_weight)
        return cls(code, comparison, request.bit_weights)

    @property
    def unit(self) -> int:
        """What a distance of the index is divided by, so that it reads as bits."""
        return 1 if self.bit_weights is None else USUAL_WEIGHT

    @property
    def part_bits(self) -> tuple[int, ...]:
        """How many bits each part has."""
        return tuple(part.bits for part in self.code.parts)

    @property
    def own_weights(self) -> NDArray[np.int64]:
        """How much a difference in each bit counts within its part, weights_K: 0..15, or 1 each."""
        if self.bit_weights is None:
            return np.ones(self.code.bits, np.int64)
        return np.array([int(digit, 16) for digit in self.bit_weights], np.int64)

    @property
    def full_weights(self) -> NDArray[np.int64]:
        """How much a difference in each bit counts in all, weights_K: its own weight times its part's."""
        part_weights_K = np.repeat(np.array(self.comparison.weights, np.int64), self.part_bits)
        return np.asarray(self.own_weights * part_weights_K)

    @property
    def greatest_distance(self) -> float:
        """The distance that no chip exceeds [bits]."""
        return int(self.full_weights.sum()) / self.unit

    def told(self, compare: str) -> dict[str, Any]:
        """Return what `SearchInfo` says of it."""
        weighed = zip(self.code.parts, self.comparison.weights, strict=True)
        return {
            "compare": compare,
            "parts": [{"name": part.name, "bits": part.bits, "weight": weight} for part, weight in weighed],
            "rank_by": "bits" if self.bit_weights is None else "values",
        }


def digits(bit_weights_K: NDArray[np.uint8]) -> str:
    """Return bit weights, 0..15, as `SearchRequest.bit_weights` has them."""
    return "".join(f"{weight:x}" for weight in bit_weights_K.tolist())
