"""What the encoder says; apart from it, as importing torch takes seconds and hundreds of megabytes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Encoded:
    """An image's code, and whose code it is."""

    code: bytes
    bit_weights: str
    """How sure the network is of each bit: `SearchRequest.bit_weights`."""
    model_id: str


@dataclass(frozen=True)
class EncoderInfo:
    """What images are encoded with."""

    model_id: str
    device: str
