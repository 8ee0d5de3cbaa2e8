"""What the ingress, the shards and the encoder send each other.

The ingress sends each shard one question or several. A shard holds a part of the table's rows, so its reply
is a part of the answer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from model.spec import CodeSpec
from pipelines.api.requests import DEFAULT_K, SearchRequest
from pipelines.serve.chip_at import Preference
from pipelines.serve.cursor import START, Cursor
from pipelines.serve.page import Chips
from pipelines.serve.refusals import Refusal
from pipelines.table.pointer import Published

_FEW_CHIPS = 100


@dataclass(frozen=True)
class SnapshotSelector:
    """Which snapshot a shard must answer from. All fields None: the one that is served now."""

    number: int | None = None
    """Number of the publication: the one that the other shards have answered from"""
    version: int | None = None
    """Version of the table: the one that the client asks for"""
    model_id: str | None = None
    """The model that encoded the client's image: the newest kept snapshot of this model"""

    def matches(self, published: Published) -> bool:
        """Return whether a publication has the selected number, version and model."""
        return (
            self.number in (None, published.number)
            and self.version in (None, published.table_version)
            and self.model_id in (None, published.model_id)
        )


@dataclass(frozen=True)
class Question:
    """A search request, and where the page that it asks for begins."""

    request: SearchRequest
    cursor: Cursor = START
    codes: Mapping[str, bytes] = field(default_factory=dict)
    """Codes of the examples by chip id. Incomplete as long as other shards hold some of the examples"""

    @property
    def k(self) -> int | None:
        """Most chips in the whole answer, over all pages; None: all chips within ``max_distance``."""
        if self.request.k is None and self.request.max_distance is None:
            return DEFAULT_K
        return self.request.k

    @property
    def page_size(self) -> int:
        """Most chips in this page."""
        limit = self.request.limit
        return limit if self.k is None else max(0, min(limit, self.k - self.cursor.returned))

    @property
    def is_light(self) -> bool:
        """Whether the answer takes little time: one example, few chips, no filter, no bit weights."""
        request = self.request
        examples = 1 if request.code is not None else len(self.example_ids)
        is_plain = examples == 1 and request.bit_weights is None and not request.has_filters
        return is_plain and self.reach <= _FEW_CHIPS

    @property
    def reach(self) -> int:
        """How many of its nearest chips a shard must find for this page to be complete."""
        return self.cursor.returned + self.request.limit if self.k is None else self.k

    @property
    def example_ids(self) -> tuple[str, ...]:
        """Ids of the example chips, the positive ones first; for a point the chip there, once it is known."""
        if self.request.point is not None:
            return tuple(self.codes)
        return (*(self.request.chip_ids or ()), *(self.request.negative_ids or ()))

    @property
    def is_resolved(self) -> bool:
        """Whether the codes of all examples are known."""
        if self.request.point is not None:
            return bool(self.codes)
        return self.codes.keys() >= set(self.example_ids)

    def with_examples(self, examples: Iterable["Example"]) -> "Question":
        """Return the question with the codes of these examples added.

        For a point, ``examples`` are the best chip of each shard, and only the best of them is taken.
        """
        found = list(examples)
        if self.request.point is not None:
            found = sorted(found, key=lambda example: example.preference or ())[:1]
        return replace(self, codes={**self.codes, **{example.chip_id: example.code for example in found}})

    @property
    def excludes_examples(self) -> bool:
        """Whether the examples are left out of the answer."""
        excludes = self.request.exclude_self
        return self.request.chip_ids is not None if excludes is None else excludes


@dataclass(frozen=True)
class Example:
    """An example chip that a shard holds."""

    chip_id: str
    code: bytes
    preference: Preference | None = None
    """For a chip found at a point: the least preference wins. None for a chip that was named by its id"""


@dataclass(frozen=True)
class PartialResult:
    """One shard's part of an answer."""

    chips: Chips
    """The shard's rows for this page, nearest first, at most ``page_size``. Besides the columns of the table
    that the answer needs there are ``distance`` and ``tie``, and if codes have two parts ``kind_distance``
    and ``look_distance``"""
    distances: tuple[tuple[tuple[float, float], int], ...]
    """How many of the shard's ``reach`` nearest rows lie at each (distance, tie), the nearest first"""
    ties: int
    """Rows that k left out although they have the last (distance, tie) of ``distances``"""
    within: int | None
    """Rows within ``max_distance``; None if the request has no such limit"""
    method: Literal["scan", "mih"]
    codes_compared: int
    passed: int = 0
    """How many of the shard's rows were on the pages before this one"""


Sample = list[tuple[str, bytes]]
"""(chip id, code) of some chips."""


@dataclass(frozen=True)
class ShardReply:
    """A shard's reply to one question."""

    examples: tuple[Example, ...] = ()
    """The question's examples that this shard holds, if their codes were missing"""
    result: PartialResult | None = None
    """None if the shard doesn't know the codes of all examples, so that it couldn't search yet"""


ShardReplies = list[ShardReply | Refusal]
"""A shard's replies to several questions, in their order."""


@dataclass(frozen=True)
class SnapshotId:
    """Names the snapshot that a shard has answered from."""

    number: int
    """Number of the publication"""
    version: int
    """Version of the table"""
    model_id: str
    code: CodeSpec
    """The parts of the codes"""
    table_id: str = ""
    """Delta Lake's id of the table: numbers and versions of two tables can't be compared"""


@dataclass(frozen=True)
class Encoded:
    """An image's code, and the model that made it."""

    code: bytes
    bit_weights: str
    """How sure the network is of each bit, in the form of `SearchRequest.bit_weights`"""
    model_id: str


@dataclass(frozen=True)
class EncoderInfo:
    """Model and device that encode uploaded images."""

    model_id: str | None
    """None while its network is being loaded"""
    device: str
