"""How a network is trained: plain frozen dataclasses, as in `model.spec`."""

from dataclasses import dataclass

from model.spec import described

VIEWS = 8
"""Turns and reflections of a square."""


@dataclass(frozen=True)
class AugmentSpec:
    """Changes after which a chip still shows the same thing.

    ``views`` are for a frozen backbone, whose features are computed once for each view. The other changes are
    for fine-tuning, and drawn anew for each chip and epoch.
    """

    views: int = described(
        2, "frozen backbone: in how many turns and reflections each chip's features are computed [1..8]"
    )
    symmetries: bool = described(
        True, "fine-tuning: flips and quarter turns, as seen from above no side is up"
    )
    scale: float = described(0.2, "fine-tuning: zoom in by up to this share of the side [0..0.9]")
    colour: float = described(0.2, "fine-tuning: gain and offset of each band by up to this share [0..1]")

    def __post_init__(self) -> None:
        if not 1 <= self.views <= VIEWS:
            raise ValueError(f"views must be 1..{VIEWS}, not {self.views}")
        if not (0 <= self.scale <= 0.9 and 0 <= self.colour <= 1):
            raise ValueError(f"scale must be 0..0.9 and colour 0..1, not {self.scale} and {self.colour}")


@dataclass(frozen=True)
class Recipe:
    """The optimisation: AdamW, with a warm-up and a cosine schedule."""

    epochs: int = described(15, "passes over the training chips")
    batch_size: int = described(128, "chips in one step, over all workers together")
    chips_per_class: int = described(
        0, "chips of each class in a batch, all classes equally often; 0: each chip once in an epoch"
    )
    learning_rate: float = described(
        2e-3, "highest rate of the head; warms up over a tenth, then a cosine to 0"
    )
    backbone_learning_rate: float = described(
        0.0, "the same for the backbone; 0: it is frozen, and its features are computed once and kept"
    )
    head_epochs: int = described(
        0,
        "fine-tuning: epochs of the head alone on the backbone's features, before and after the others",
    )
    weight_decay: float = described(5e-4, "decay of the weights")
    bfloat16: bool = described(
        True, "fine-tuning: run the backbone in bfloat16 where the hardware multiplies it"
    )
    patience: int = described(
        0,
        "stop after this many epochs without a better validation score, keep the best; 0: train to the end",
    )

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.chips_per_class < 0 or self.batch_size < 2:
            raise ValueError("epochs must be 1 or more, chips_per_class 0 or more, batch_size 2 or more")
        if self.learning_rate <= 0 or min(self.backbone_learning_rate, self.weight_decay) < 0:
            raise ValueError(
                "learning_rate must be above 0, backbone_learning_rate and weight_decay not below"
            )
        if min(self.patience, self.head_epochs) < 0:
            raise ValueError("patience and head_epochs must be 0 or more")

    @property
    def frozen(self) -> bool:
        """Whether only the head is trained."""
        return self.backbone_learning_rate == 0
