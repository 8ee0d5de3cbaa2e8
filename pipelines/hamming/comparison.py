"""How codes are compared: how much each part counts, and what orders rows at the same distance.

A code has one part or several, each of some bits (`model.spec.CodeSpec`). With H_p the Hamming distance of
part p:

    distance = sum over p of weights[p] * H_p
    tie      = sum over p of tie_weights[p] * H_p

Rows are ordered by distance, then tie, then rank (the order of their chip ids).
"""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_WEIGHT = 8
"""Greatest weight of a part, in the distance and in the tie."""


@dataclass(frozen=True)
class Comparison:
    """Weights of each part, in the order of the code's bits."""

    weights: tuple[int, ...]
    """0..8; 0: the part isn't in the distance."""
    tie_weights: tuple[int, ...]
    """0..8; all 0: rows at the same distance are ordered by rank alone."""

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.tie_weights) or not self.weights:
            raise ValueError(f"give each part a weight and a tie weight, not {self}")
        if not all(0 <= weight <= MOST_WEIGHT for weight in (*self.weights, *self.tie_weights)):
            raise ValueError(f"weights are whole numbers from 0 to {MOST_WEIGHT}, not {self}")
        if not any(self.weights):
            raise ValueError("at least one part must have a weight above 0")

    def greatest_distance(self, part_bits: Sequence[int]) -> int:
        """Return the greatest distance there is: that of codes that differ in every bit."""
        return sum(weight * bits for weight, bits in zip(self.weights, part_bits, strict=True))

    def ties(self, part_bits: Sequence[int]) -> int:
        """Return how many values a tie may have: one more than the greatest."""
        return 1 + sum(weight * bits for weight, bits in zip(self.tie_weights, part_bits, strict=True))

    def key_weights(self, part_bits: Sequence[int]) -> tuple[int, ...]:
        """Return the weights whose sum over the parts is ``distance * ties + tie``.

        This one number orders rows as distance and tie do.
        """
        ties = self.ties(part_bits)
        return tuple(weight * ties + tie for weight, tie in zip(self.weights, self.tie_weights, strict=True))


def all_alike(part_bits: Sequence[int]) -> Comparison:
    """Return the comparison in which each bit of each part counts once."""
    return Comparison((1,) * len(part_bits), (0,) * len(part_bits))
