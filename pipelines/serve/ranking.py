"""How the chips of an answer are ranked: which parts of the codes count, and how much each bit counts.

Shapes: K bits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.spec import CodeSpec
from pipelines.api.requests import SearchRequest
from pipelines.hamming.comparison import Comparison
from pipelines.index.part_weights import comparison_of
from pipelines.serve.answer_dicts import ComparedPartDict

USUAL_WEIGHT = 8
"""Average weight of a bit in a search that ranks by values (`model.bit_weights`)."""


@dataclass(frozen=True)
class Ranking:
    """How a request's distances are computed."""

    code: CodeSpec
    comparison: Comparison
    bit_weights: str | None
    """One hex digit for each bit; None: all bits of a part count alike."""

    @classmethod
    def of(cls, request: SearchRequest, code: CodeSpec) -> "Ranking":
        """Return how a request's answer is ranked. Raises ComparisonError."""
        comparison = comparison_of(code, request.compare, request.kind_weight)
        return cls(code, comparison, request.bit_weights)

    @property
    def unit(self) -> int:
        """Divide the index's distances by this to get bits."""
        return 1 if self.bit_weights is None else USUAL_WEIGHT

    @property
    def part_bits(self) -> tuple[int, ...]:
        """How many bits each part has."""
        return tuple(part.bits for part in self.code.parts)

    @property
    def own_weights(self) -> NDArray[np.int64]:
        """Weight of each bit within its part, weights_K: 0..15, or all 1 without bit weights."""
        if self.bit_weights is None:
            return np.ones(self.code.bits, np.int64)
        return np.array([int(digit, 16) for digit in self.bit_weights], np.int64)

    @property
    def full_weights(self) -> NDArray[np.int64]:
        """Weight of each bit in the distance, weights_K: its own weight times its part's weight."""
        part_weights_K = np.repeat(np.array(self.comparison.weights, np.int64), self.part_bits)
        return np.asarray(self.own_weights * part_weights_K)

    @property
    def greatest_distance(self) -> float:
        """The greatest distance that two codes can have [bits]."""
        if self.bit_weights is None:
            return self.comparison.greatest_distance(self.part_bits)
        return int(self.full_weights.sum()) / self.unit

    def compared_parts(self) -> list[ComparedPartDict]:
        """Return each part's name, bits and weight, for `SearchInfo.parts`."""
        weighted = zip(self.code.parts, self.comparison.weights, strict=True)
        return [{"name": part.name, "bits": part.bits, "weight": weight} for part, weight in weighted]


def digits(bit_weights_K: NDArray[np.uint8]) -> str:
    """Return bit weights, 0..15, as the hex digits of `SearchRequest.bit_weights`."""
    return "".join(f"{weight:x}" for weight in bit_weights_K.tolist())
