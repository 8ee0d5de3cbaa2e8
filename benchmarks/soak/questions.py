"""What clients ask: searches by chip and by code, answers in pages, pictures of what was found, hits."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["search", "pages", "picture", "hits"]

_SHARES: dict[Kind, float] = {"search": 0.5, "pages": 0.25, "picture": 0.2, "hits": 0.05}
MOST_PAGES = 4
"""Of one answer, that a client turns to."""


@dataclass(frozen=True)
class Question:
    """What a client wants to know."""

    kind: Kind
    query: dict[str, Any]
    """The body of the search; of a watch's hits nothing"""

    @property
    def limit(self) -> int:
        """Chips in a page."""
        return int(self.query.get("limit", 1000))


class Questions:
    """Draws questions about chips that every version of the table has."""

    def __init__(self, chips: Sequence[str], bits: int, seed: int) -> None:
        """``bits``: length of the codes of all models."""
        self._chips, self._bits = chips, bits
        self._draw = random.Random(seed)

    def draw(self) -> Question:
        """Return the next question."""
        draw = self._draw
        kind = draw.choices(list(_SHARES), list(_SHARES.values()))[0]
        if kind == "hits":
            return Question(kind, {})
        chip = {"chip_ids": [draw.choice(self._chips)]}
        if kind == "pages":
            whole = draw.choice([{"max_distance": draw.randint(2, 6)}, {"k": 100}])
            return Question(kind, {**chip, **whole, "limit": draw.choice([10, 25])})
        if kind == "search" and draw.random() < 0.3:
            code = draw.randbytes(self._bits // 8).hex()
            return Question(kind, {"code": code, "k": draw.choice([1, 10, 50])})
        return Question(kind, {**chip, "k": draw.choice([1, 10, 50])})
