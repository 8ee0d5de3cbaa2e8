"""What a network is made of and what goes into it: plain frozen dataclasses, written into every bundle.

Each checks its values and raises ValueError. The stages' configs are subclasses in pydantic, which reads the
types and the ``description`` metadata: docs/decisions/0005. This module imports neither pydantic nor torch,
so that ``--help`` stays quick.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

MAX_BITS, MAX_HIDDEN, MAX_WEIGHT = 1024, 65_536, 8

Head = Literal["norm", "linear", "attention", "none"]
Resize = Literal["bilinear", "bicubic"]
PartName = Literal["kind", "look"]
Compare = Literal["both", "kind", "look"]
"""Which parts of two codes are compared. If a code has one part only, "both" means that part."""


def described(default: Any, description: str) -> Any:  # noqa: ANN401 - as dataclasses.field
    """Return a dataclass field whose description shows up in ``--help``."""
    return field(default=default, metadata={"description": description})


@dataclass(frozen=True)
class CodePart:
    """A part of a code: bits that mean the same kind of thing."""

    name: PartName
    """``kind``: what the labels say; ``look``: what the pixels look like."""
    bits: int
    """A multiple of 8, 8..1024."""
    weight: int = 1
    """How often each of its bits counts if both parts are compared, 1..8."""

    def __post_init__(self) -> None:
        if self.name not in get_args(PartName):
            raise ValueError(f"a part of a code is kind or look, not {self.name!r}")
        if self.bits % 8 or not 8 <= self.bits <= MAX_BITS:
            raise ValueError(f"a part has a multiple of 8 bits from 8 to {MAX_BITS}, not {self.bits}")
        if not 1 <= self.weight <= MAX_WEIGHT:
            raise ValueError(f"the weight of a part is 1..{MAX_WEIGHT}, not {self.weight}")


@dataclass(frozen=True)
class CodeSpec:
    """The parts of a code, in the order of their bits: kind, look, or kind and look.

    The distance of two codes is the sum over parts of weight times Hamming distance: a whole number.
    """

    parts: tuple[CodePart, ...]

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if names not in (["kind"], ["look"], ["kind", "look"]):
            raise ValueError(f"the parts of a code are kind, look, or kind and look, not {names}")
        if self.bits > MAX_BITS:
            raise ValueError(f"a code has at most {MAX_BITS} bits, not {self.bits}")
        if len(self.parts) == 1 and self.parts[0].weight != 1:
            raise ValueError("the only part of a code has the weight 1")

    @property
    def bits(self) -> int:
        """Length of the code."""
        return sum(part.bits for part in self.parts)

    @property
    def greatest_distance(self) -> int:
        """Distance between two codes that differ in every bit, with the parts' own weights."""
        return sum(part.bits * part.weight for part in self.parts)


@dataclass(frozen=True)
class InputSpec:
    """How pixels become the network's input: the same for training, encoding and queries.

    ``pixels = 255 (values - low) / (high - low)``, rounded and kept within 0..255;
    ``images = (resize(pixels) / 255 - mean) / std``; both per band.
    """

    size: int = described(224, "side of the network's square input [pixels, 8..1024]")
    bands: tuple[int, ...] = described((1, 2, 3), "raster bands in the order that the network takes, from 1")
    mean: tuple[float, ...] = described((0.485, 0.456, 0.406), "mean per band, pixels scaled to [0, 1]")
    std: tuple[float, ...] = described(
        (0.229, 0.224, 0.225), "standard deviation per band, pixels scaled to [0, 1]"
    )
    resize: Resize = described("bilinear", "interpolation, antialiased: bilinear or bicubic")
    low: tuple[float, ...] = described((), "source value per band that becomes 0; empty: 8 bits as they are")
    high: tuple[float, ...] = described(
        (), "source value per band that becomes 255; empty: 8 bits as they are"
    )

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 1024:
            raise ValueError(f"size must be 8..1024 pixels, not {self.size}")
        if not self.bands or min(self.bands) < 1:
            raise ValueError(f"bands are numbered from 1 and there must be one at least, not {self.bands}")
        if not len(self.bands) == len(self.mean) == len(self.std):
            raise ValueError("bands, mean and std must have one entry a band")
        if min(self.std) <= 0:
            raise ValueError("std must be positive")
        if self.low or self.high:
            if not len(self.bands) == len(self.low) == len(self.high):
                raise ValueError("low and high must have one entry a band, or none at all")
            if any(low >= high for low, high in zip(self.low, self.high, strict=True)):
                raise ValueError(f"low must be below high, not {self.low} and {self.high}")
        if self.resize not in get_args(Resize):
            raise ValueError(f"resize must be one of {', '.join(get_args(Resize))}, not {self.resize!r}")


@dataclass(frozen=True)
class NetworkSpec:
    """The architecture: a backbone cut at a node, pooled, and hash layers on top."""

    backbone: str = described("inception_v3", "model name in torchvision.models, timm:name or module:factory")
    node: str = described(
        "Mixed_6c+Mixed_7a",
        "nodes whose outputs are pooled to features, joined by +; empty: the output of a timm or own model",
    )
    head: Head = described(
        "norm",
        "hash layers of the kind bits: norm (OrthoHash), linear (seed A), attention (seed B) or none",
    )
    hidden: int = described(
        1024, "norm head: width of a hidden layer before the hash layer [units, ..65536; 0: none]"
    )
    attention_reduction: int = described(16, "attention head: features over units of its bottleneck")
    kind_bits: int = described(
        64, "bits that say what the labels say [a multiple of 8, 8..1024; 0: none, with head none]"
    )
    look_bits: int = described(
        0,
        "bits that say what the pixels look like, made without labels [a multiple of 8, 8..1024; 0: none]",
    )
    kind_weight: int = described(
        2, "how often each kind bit counts in the distance, if there are look bits too [1..8]"
    )

    def __post_init__(self) -> None:
        if (self.head == "none") != (self.kind_bits == 0):
            raise ValueError(
                f"kind_bits must be 0 with head none, and only then: not {self.kind_bits} with {self.head}"
            )
        if not 1 <= self.kind_weight <= MAX_WEIGHT:
            raise ValueError(f"kind_weight must be 1..{MAX_WEIGHT}, not {self.kind_weight}")
        self.code  # noqa: B018 - raises ValueError if the numbers of bits don't fit
        if not 0 <= self.hidden <= MAX_HIDDEN or self.attention_reduction < 1:
            raise ValueError(f"hidden ({self.hidden}) must be 0..{MAX_HIDDEN}, attention_reduction 1 or more")
        if self.head not in get_args(Head):
            raise ValueError(f"head must be one of {', '.join(get_args(Head))}, not {self.head!r}")

    @property
    def code(self) -> CodeSpec:
        """The parts of the codes that the network makes."""
        kind_weight = self.kind_weight if self.look_bits else 1
        kind = (CodePart("kind", self.kind_bits, kind_weight),) if self.kind_bits else ()
        look = (CodePart("look", self.look_bits),) if self.look_bits else ()
        return CodeSpec(kind + look)
