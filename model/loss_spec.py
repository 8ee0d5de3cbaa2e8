"""The options of the losses: plain frozen dataclasses, as in `model.spec`.

The losses themselves, with their formulas and sources, are in `model.losses`.
"""

from dataclasses import dataclass
from typing import Literal

from model.spec import described

Objective = Literal["orthohash", "pairwise", "triplet"]


@dataclass(frozen=True)
class OrthoHashSpec:
    """The options of OrthoHash and of the contrastive term that is added to it.

    Raises ValueError on a negative weight or a temperature that isn't above 0.
    """

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
    """The options of seed A's losses. The patent gives no weights, so that each is 1."""

    margin: float = described(2.0, "squared distance that dissimilar pairs must have [multiples of bits]")
    uniform_weight: float = described(1.0, "weight of the uniform-bits term")
    quantisation_weight: float = described(1.0, "weight of the quantisation term")
    balance: bool = described(False, "weigh similar and dissimilar pairs alike, however many there are")


@dataclass(frozen=True)
class TripletSpec:
    """The options of seed B's losses.

    The patent gives no values. Most are those of MiLaN (Roy and others, "Metric-learning-based deep hashing
    network", 2021), from which the method descends; ``isometric_weight`` and ``pair_weight`` have no source.
    """

    margin: float = described(0.2, "how much farther than the positive a negative must be [share of bits]")
    isometric_weight: float = described(0.1, "weight of the quantisation terms")
    pair_weight: float = described(1.0, "within them, weight of the pairs' distances")
    push_weight: float = described(0.001, "weight of the term that pushes outputs to 0 or 1")
    equal_weight: float = described(1.0, "weight of the term that balances bits")


LossSpec = OrthoHashSpec | PairwiseSpec | TripletSpec


def views_a_chip(spec: LossSpec) -> int:
    """Return in how many views each chip enters a batch: two for the contrastive term, else one."""
    return 2 if isinstance(spec, OrthoHashSpec) and spec.contrast_weight else 1
