"""The options of the losses: plain frozen dataclasses, as in `model.spec`."""

from dataclasses import dataclass
from typing import Literal

from model.spec import described

Objective = Literal["orthohash", "pairwise", "triplet"]


@dataclass(frozen=True)
class OrthoHashSpec:
    """The options of OrthoHash, and of the contrastive term beside it."""

    margin: float = described(0.2, "how much nearer than the others its own target must be [cosine, 0..1]")
    contrast_weight: float = described(
        2.0, "weight of the contrastive term, for which each chip is in a batch in two views; 0: one view"
    )
    contrast_temperature: float = described(0.3, "temperature of the contrastive term [above 0]")

    def __post_init__(self) -> None:
        if self.contrast_weight < 0 or self.contrast_temperature <= 0:
            raise ValueError(
                "contrast_weight must be 0 or more and contrast_temperature above 0, "
                f"not {self.contrast_weight} and {self.contrast_temperature}"
            )


@dataclass(frozen=True)
class PairwiseSpec:
    """The options of seed A's losses. The patent gives no weights: each is 1."""

    margin: float = described(2.0, "squared distance that dissimilar pairs must have [multiples of bits]")
    uniform_weight: float = described(1.0, "weight of the uniform-bits term")
    quantisation_weight: float = described(1.0, "weight of the quantisation term")
    pairs: Literal["all", "random"] = described("all", "pairs of a batch: all, or random disjoint ones")
    balance: bool = described(False, "weigh similar and dissimilar pairs alike, however many there are")
    uniform: Literal["bit", "code"] = described("bit", "half on: each bit over the batch, or bits of a code")
    quantisation: Literal["l2", "l1"] = described("l2", "distance to the sign: squared or absolute")


@dataclass(frozen=True)
class TripletSpec:
    """The options of seed B's losses. The patent gives no values: they are those of MiLaN, its ancestor.

    ``isometric_weight`` and ``pair_weight`` have no source.
    """

    margin: float = described(0.2, "how much farther than the positive a negative must be [share of bits]")
    mining: Literal["semi_hard", "batch_all"] = described(
        "semi_hard", "triplets: only negatives between positive and margin, or all (batch_all collapses more)"
    )
    isometric_weight: float = described(0.1, "weight of the quantisation terms")
    pair_weight: float = described(1.0, "within them, weight of the pairs' distances")
    pointwise: Literal["logcosh", "squared"] = described(
        "logcosh", "distance of h to its bit: log cosh, or its square (no gradient near 0.5)"
    )
    pair_norm: Literal["squared", "l2"] = described("squared", "distances compared: squared, or plain norms")
    push_weight: float = described(0.001, "weight of the term that pushes h to the ends")
    equal_weight: float = described(1.0, "weight of the term that balances bits")
    equal: Literal["bit", "code"] = described("bit", "half on: each bit over the batch, or bits of a code")


def views_a_chip(spec: "LossSpec") -> int:
    """Return in how many views each chip enters a batch: the contrastive term compares two."""
    return 2 if isinstance(spec, OrthoHashSpec) and spec.contrast_weight else 1


LossSpec = OrthoHashSpec | PairwiseSpec | TripletSpec
