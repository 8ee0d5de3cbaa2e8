"""A page of chips, column by column, before it has the form that was asked for."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice, repeat
from typing import Any

from pipelines.api.fields import PROPERTIES, Fields, Format
from pipelines.index.rows import ROW_COLUMNS

Chips = dict[str, list[Any]]
"""Columns of chips, all of one length. Those of the table have the table's names."""

USUAL = ("id", "distance", "lon", "lat", "bbox", "datetime", "collection")
"""The columns of an answer in columns, if the request names none."""
ALL_COLUMNS = ("id", "bbox", "geometry", *PROPERTIES)
_SOURCES = {"id": "chip_id", "lon": "bbox", "lat": "bbox"}
"""Columns of the table that columns of an answer are made of, where the names differ."""
EVERYTHING = Fields()
_FIELDS = 128
"""Requests with other fields whose columns are remembered."""


@dataclass(frozen=True)
class Ranked:
    """What a search says about the chips of a page."""

    first_rank: int
    greatest_distance: float
    """The greatest distance that two codes can have [bits]"""
    chance_distance: float
    """Infinite if it isn't known"""


@dataclass(frozen=True)
class Page:
    """A page of an answer."""

    chips: Chips
    about: dict[str, Any]
    """The members of the answer beside its chips"""
    is_columns: bool
    fields: Fields
    ranked: Ranked | None = None
    """None if the answer isn't that of a search"""
    usual: tuple[str, ...] = USUAL

    def __len__(self) -> int:
        return len(self.chips["chip_id"])


@lru_cache(_FIELDS)
def wanted_columns(fields: Fields, usual: tuple[str, ...] = USUAL) -> list[str]:
    """Return which columns an answer in columns has, in their order."""
    possible = [*usual, *(name for name in ALL_COLUMNS if name not in usual)] if fields.include else usual
    return [name for name in possible if fields.wants(name)]


@lru_cache(_FIELDS)
def wanted_of_table(layout: Format, fields: Fields | None) -> tuple[str, ...]:
    """Return which columns of the table a page needs: the chip id is always one."""
    fields = fields or EVERYTHING
    if layout == "columns":
        sources = {_SOURCES.get(name, name) for name in wanted_columns(fields)}
    else:
        sources = {_SOURCES.get(name, name) for name in ALL_COLUMNS if fields.wants(name)}
        if fields.wants("assets"):
            sources |= {"etag", "cut"}  # a picture's link names its version
    return tuple(name for name in ROW_COLUMNS if name == "chip_id" or name in sources)


def merged(
    parts: Sequence[Chips], order: Sequence[str | Callable[[Chips], list[Any]]], most: int | None = None
) -> Chips:
    """Return the first chips of all shards, whose chips are each in this order of columns, or of keys."""
    keys = [
        zip(
            *(chips[key] if isinstance(key, str) else key(chips) for key in order),
            repeat(shard),
            count(),
            strict=False,
        )
        for shard, chips in enumerate(parts)
    ]
    first = list(islice(heapq.merge(*keys), most))
    return {name: [parts[shard][name][place] for *_, shard, place in first] for name in parts[0]}
