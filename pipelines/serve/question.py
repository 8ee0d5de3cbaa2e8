"""What the ingress asks of shards and of the encoder, and what they say: one question, or many at once.

A shard holds a part of the table's rows, so what it says is a part of the answer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from model.spec import CodeSpec
from pipelines.api.requests import DEFAULT_K, SearchRequest
from pipelines.serve.chip_at import Preference
from pipelines.serve.cursor import START, Cursor
from pipelines.table.pointer import Published

_FEW_CHIPS = 100


@dataclass(frozen=True)
class Pin:
    """Which snapshot is to answer; without any of these the one that is served."""

    number: int | None = None
    """Of the publication: what other shards have answered from."""
    version: int | None = None
    """Of the table: what the client has asked for."""
    model_id: str | None = None
    """What an image was encoded with: the newest snapshot of this model, among those that are kept."""

    def wants(self, published: Published) -> bool:
        """Whether a publication will do."""
        return (
            self.number in (None, published.number)
            and self.version in (None, published.table_version)
            and self.model_id in (None, published.model_id)
        )


@dataclass(frozen=True)
class Question:
    """A search, and where its page begins."""

    request: SearchRequest
    cursor: Cursor = START
    codes: Mapping[str, bytes] = field(default_factory=dict)
    """The codes of its examples by chip id, as far as they are known: another shard may have them."""

    @property
    def k(self) -> int | None:
        """How many chips the whole answer has; None: all within ``max_distance``."""
        if self.request.k is None and self.request.max_distance is None:
            return DEFAULT_K
        return self.request.k

    @property
    def page_size(self) -> int:
        """How many chips this page has at most."""
        limit = self.request.limit
        return limit if self.k is None else max(0, min(limit, self.k - self.cursor.returned))

    @property
    def is_light(self) -> bool:
        """Whether its answer is quickly found and worded: one example, few chips, no filter, plain bits."""
        request = self.request
        examples = 1 if request.code is not None else len(self.example_ids)
        is_plain = examples == 1 and request.bit_weights is None and not request.has_filters
        return is_plain and self.reach <= _FEW_CHIPS

    @property
    def reach(self) -> int:
        """How many of a shard's nearest chips decide this page."""
        return self.cursor.returned + self.request.limit if self.k is None else self.k

    @property
    def example_ids(self) -> tuple[str, ...]:
        """The chips that it names, the positive ones first, or the one at its point where that is known."""
        if self.request.point is not None:
            return tuple(self.codes)
        return (*(self.request.chip_ids or ()), *(self.request.negative_ids or ()))

    @property
    def is_resolved(self) -> bool:
        """Whether the codes of all its examples are known."""
        if self.request.point is not None:
            return bool(self.codes)
        return self.codes.keys() >= set(self.example_ids)

    def with_examples(self, examples: Iterable["Example"]) -> "Question":
        """Return the question with the codes of what shards have found; at a point one of them is meant."""
        found = list(examples)
        if self.request.point is not None:
            found = sorted(found, key=lambda example: example.preference or ())[:1]
        return replace(self, codes={**self.codes, **{example.chip_id: example.code for example in found}})

    @property
    def excludes_examples(self) -> bool:
        """Whether they are no part of the answer."""
        excludes = self.request.exclude_self
        return self.request.chip_ids is not None if excludes is None else excludes


@dataclass(frozen=True)
class Example:
    """An example that a shard holds."""

    chip_id: str
    code: bytes
    preference: Preference | None = None
    """None: it was asked for by id."""


@dataclass(frozen=True)
class Found:
    """A shard's part of an answer."""

    chips: list[dict[str, Any]]
    """The rows that may be on the page, in order, at most a page of them; each has a ``distance``, a ``tie``
    and, where codes have two parts, ``kind_distance`` and ``look_distance``."""
    distances: tuple[tuple[tuple[float, float], int], ...]
    """Of all its rows that may be in the answer: how many have each (distance, tie), the nearest first."""
    ties: int
    """Rows with the last of these that k left out."""
    within: int | None
    """Rows within ``max_distance``; None where there is no such limit."""
    method: Literal["scan", "mih"]
    codes_compared: int
    passed: int = 0
    """How many of its rows the pages before this one have had"""


Sample = list[tuple[str, bytes]]
"""Id and code of some of a shard's chips."""


@dataclass(frozen=True)
class Said:
    """What a shard says to a question: its part of the answer, or the examples that it holds."""

    examples: tuple[Example, ...] = ()
    found: Found | None = None
    """None: not before it knows the codes of all examples."""


@dataclass(frozen=True)
class Source:
    """The snapshot that a shard has answered from."""

    number: int
    version: int
    model_id: str
    code: CodeSpec
    """The parts of its codes."""
    table_id: str = ""
    """Delta's; numbers and versions of another table can't be compared"""


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
