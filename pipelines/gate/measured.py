"""What the gate measures of a version: one pass over its rows, in bounded memory.

Shapes: N chips of a batch, S chips of a sample, K bits, Y bytes a code.
"""

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.codes import Codes, part_bytes, unpack
from model.metrics import code_health
from model.spec import CodeSpec
from pipelines.gate.canary import Canary
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import Published

_SAMPLE = 100_000  # codes, evenly spaced in the table, whose health is measured
_STUCK = 0.001  # a bit is stuck if this share of the chips or less has it unlike the others
_KEPT = 1 << 16  # hashes of strings, at most
_COLUMNS = ("chip_id", "uri", "encoded_at", "code")

Figures = dict[str, float]


@dataclass(frozen=True)
class Measured:
    """The gate's figures of a version."""

    figures: Figures
    bits_on: tuple[float, ...]
    """For each bit, the share of the chips that have it on."""
    encoded_until: datetime | None
    """When its newest row was encoded; None: it has no rows."""


class DistinctCount:
    """Counts different strings: exact up to 65 536, beyond that with a standard deviation of .4 %.

    The k smallest of evenly distributed hashes show how many there are: Bar-Yossef and others, "Counting
    distinct elements in a data stream", RANDOM 2002. Python's own hash of strings is evenly distributed; it
    differs between processes.
    """

    def __init__(self) -> None:
        self._least = np.empty(0, np.uint64)

    def add(self, strings: pa.Array) -> None:
        """Add strings to the count."""
        fresh = np.fromiter(map(hash, pc.unique(strings).to_pylist()), np.int64).view(np.uint64)
        self._least = np.unique(np.concatenate([self._least, fresh]))[:_KEPT]

    def count(self) -> int:
        """Return how many different strings were added."""
        if len(self._least) < _KEPT:
            return len(self._least)
        return round((_KEPT - 1) / (float(self._least[-1]) / 2**64))


class _Group:
    """A set of chips: how many, of how many objects, and how often each bit is on."""

    def __init__(self) -> None:
        self.chips, self.uris = 0, DistinctCount()
        self._on_K: np.ndarray | int = 0

    def add(self, uris: pa.Array, codes_NY: np.ndarray) -> None:
        self.chips += len(codes_NY)
        self.uris.add(uris)
        self._on_K = self._on_K + unpack(codes_NY).sum(axis=0)

    def bits_on(self) -> np.ndarray:
        """Return on_K, the share of the chips that have each bit on."""
        return np.atleast_1d(self._on_K) / max(self.chips, 1)


def measure(
    table: CodeTable,
    model_id: str,
    version: int,
    code: CodeSpec,
    last: Published | None,
    canary: Canary | None,
) -> Measured:
    """Measure a model's rows at a version, and how they differ from the model's last publication, if any.

    ``code`` says what parts the model's codes have; each part's health is measured on its own. The codes of
    the canary set are collected in ``canary``.
    """
    count, batches = table.stream(model_id, _COLUMNS, version)
    since = last.encoded_until if last else None
    stride = max(1, math.ceil(count / _SAMPLE))
    every, fresh = _Group(), _Group()
    sample: list[np.ndarray] = []
    until: datetime | None = None
    for batch in batches:
        if not len(batch):
            continue
        codes_NY = np.frombuffer(b"".join(batch["code"].to_pylist()), np.uint8).reshape(len(batch), -1)
        sample.append(codes_NY[-every.chips % stride :: stride])
        every.add(batch["uri"], codes_NY)
        if since:
            later = pc.greater(batch["encoded_at"], pa.scalar(since, batch["encoded_at"].type))
            fresh.add(batch["uri"].filter(later), codes_NY[later.to_numpy(zero_copy_only=False)])
        newest = pc.max(batch["encoded_at"]).as_py()
        until = newest if until is None else max(until, newest)
        if canary:
            canary.add(batch["chip_id"], batch["code"])
    if not every.chips:
        return Measured({"chips": 0, "objects": 0}, (), None)
    figures = _counts(every) | health_figures(every.bits_on(), np.concatenate(sample), code)
    if last and last.bits_on:
        figures |= _against(last, every, fresh, code)
    return Measured(figures, tuple(np.round(every.bits_on(), 6).tolist()), until)


def prefixes(code: CodeSpec) -> dict[str, slice]:
    """Return the prefix of each part's figures, and the part's bytes. A single part has an empty prefix."""
    places = part_bytes(code)
    if len(places) == 1:
        return {"": next(iter(places.values()))}
    return {f"{name}_": place for name, place in places.items()}


def _counts(every: _Group) -> Figures:
    objects = every.uris.count()
    return {"chips": every.chips, "objects": objects, "chips_per_object": every.chips / objects}


def health_figures(on_K: np.ndarray, sample_SY: Codes, code: CodeSpec) -> Figures:
    """Return the signs of collapse of each part, from on_K of all chips and the codes of a sample of them."""
    figures: Figures = {}
    for prefix, place in prefixes(code).items():
        health, own_on_K = code_health(sample_SY[:, place]), on_K[_bits(place)]
        figures |= {
            f"{prefix}stuck_bits": float((np.minimum(own_on_K, 1 - own_on_K) <= _STUCK).mean()),
            f"{prefix}worst_bit_on": float(own_on_K[np.argmax(np.abs(own_on_K - 0.5))]),
            f"{prefix}bit_entropy": health.bit_entropy,
            f"{prefix}distinct_ratio": health.distinct_ratio,
        }
    return figures


def _against(last: Published, every: _Group, fresh: _Group, code: CodeSpec) -> Figures:
    """Return how all chips, and those encoded since, differ from the last published version."""
    before = last.gate["chips_per_object"]
    figures = {
        "last_chips": last.gate["chips"],
        "last_objects": last.gate["objects"],
        "chips_per_object_change": every.chips / every.uris.count() / before - 1,
        "new_chips": fresh.chips,
        "new_objects": fresh.uris.count(),
    }
    on_K = np.array(last.bits_on)
    for prefix, place in prefixes(code).items():
        figures[f"{prefix}bit_drift"] = _drift(every, on_K, place)
        if fresh.chips:
            figures[f"{prefix}new_bit_drift"] = _drift(fresh, on_K, place)
    return figures


def _drift(group: _Group, on_K: np.ndarray, place: slice) -> float:
    """Return the mean change of a bit's share of ones, over the bits of a part."""
    return float(np.abs(group.bits_on() - on_K)[_bits(place)].mean())


def _bits(place: slice) -> slice:
    """Return the bits of some bytes."""
    return slice(place.start * 8, place.stop * 8)
