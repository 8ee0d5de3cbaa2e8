"""Answers about the table as a whole, as tables of text."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pipelines.api.answers_by_form import SelectedFeature
from pipelines.api.explore_answers import (
    ChangesAnswer,
    ChipsAnswer,
    Collection,
    CollectionsAnswer,
    CoverageAnswer,
    GridAnswer,
)
from pipelines.query.answer_table import acquired, bits, centre
from pipelines.query.explore import ExploreAnswer
from pipelines.runtime.text_table import TextTable

_SIDES = ("west", "south", "east", "north")


def explore_table(answer: ExploreAnswer) -> TextTable:
    """Return an answer as a table: a row for each cell, pair, chip or collection."""
    match answer:
        case GridAnswer():
            return _grid(answer)
        case ChangesAnswer():
            return _changes(answer)
        case ChipsAnswer():
            return _chips(answer)
        case CoverageAnswer():
            return _coverage(answer)
        case CollectionsAnswer():
            return _collections(answer)


def _grid(answer: GridAnswer) -> TextTable:
    cells = zip(answer.cells.index, answer.cells.count, answer.cells.distance, strict=True)
    header = (*_SIDES, "chips", "bits")
    summary = (
        f"{answer.in_view} chips in {len(answer.cells.index)} of {answer.width} x {answer.height} cells, of "
        f"{answer.matched} that pass the filters; {_source(answer)}"
    )
    rows = [(*_cell(answer, index), str(count), bits(distance)) for index, count, distance in cells]
    return TextTable(header=header, rows=rows, numbers=header, summary=summary)


def _cell(answer: GridAnswer, index: int) -> tuple[str, ...]:
    """Return the sides of a cell of a view."""
    west, south, east, north = answer.view
    row, column = divmod(index, answer.width)
    across, down = (east - west) % 360 or 360, north - south
    left, right = (west + across * step / answer.width for step in (column, column + 1))
    upper, lower = (north - down * step / answer.height for step in (row, row + 1))
    return _degrees(((left + 180) % 360 - 180, lower, 180 - (180 - right) % 360, upper))


def _changes(answer: ChangesAnswer) -> TextTable:
    parts = [part.name for part in answer.parts] if len(answer.parts) > 1 else []
    return TextTable(
        header=(
            *("rank", "bits", *parts, "before", "after"),
            *("earlier", "later", "collection", "longitude", "latitude"),
        ),
        rows=[_pair(feature, parts) for feature in answer.features],
        details=("before", "after"),
        numbers=("rank", "bits", *parts, "longitude", "latitude"),
        summary=f"{answer.numberReturned} of {answer.numberMatched} pairs; {_source(answer)}",
    )


def _pair(pair: SelectedFeature, parts: Sequence[str]) -> tuple[str, ...]:
    properties = pair.properties
    return (
        str(properties["rank"]),
        *_distances(properties, parts),
        properties["before"],
        properties["after"],
        _time(properties["before_datetime"]),
        _time(properties["after_datetime"]),
        properties["collection"],
        *(centre(pair.bbox) or ("", "")),
    )


def _chips(answer: ChipsAnswer) -> TextTable:
    first = answer.features[0].properties if answer.features else {}
    has_distances = "distance" in first  # of chips of other dates
    parts = [name for name in ("kind", "look") if f"{name}_distance" in first]
    numbers = ("bits", *parts) if has_distances else ()
    rows = [
        (
            *(_distances(chip.properties, parts) if has_distances else ()),
            str(chip.id),
            _time(chip.properties["datetime"]),
            chip.properties["collection"],
            *(centre(chip.bbox) or ("", "")),
            chip.properties["uri"],
        )
        for chip in answer.features
    ]
    return TextTable(
        header=(*numbers, "chip", "acquired", "collection", "longitude", "latitude", "source"),
        rows=rows,
        details=("chip", "source"),
        numbers=(*numbers, "longitude", "latitude"),
        summary=f"{answer.numberReturned} of {answer.numberMatched} chips; {_source(answer)}",
    )


def _coverage(answer: CoverageAnswer) -> TextTable:
    size, header = answer.cell_degrees, (*_SIDES, "chips")
    rows = [
        (*_degrees((x * size - 180, y * size - 90, (x + 1) * size - 180, (y + 1) * size - 90)), str(count))
        for x, y, count in zip(answer.cells.x, answer.cells.y, answer.cells.count, strict=True)
    ]
    summary = (
        f"{sum(answer.cells.count)} chips in {len(rows)} cells of {size:g} degrees, of {answer.chips} chips "
        f"({answer.without_place} without a place); version {answer.snapshot}"
    )
    return TextTable(header=header, rows=rows, numbers=header, summary=summary)


def _collections(answer: CollectionsAnswer) -> TextTable:
    counts = ("chips", "months", "undated", "placeless")
    return TextTable(
        header=("collection", *counts, "first", "last", *_SIDES),
        rows=[_collection(collection) for collection in answer.collections],
        numbers=(*counts, *_SIDES),
        summary=f"{answer.chips} chips; model {answer.model_id}, version {answer.snapshot}",
    )


def _collection(collection: Collection) -> tuple[str, ...]:
    place, time = collection.extent.spatial, collection.extent.temporal
    months = sum(count > 0 for count in collection.months.values())
    counts = (collection.chips, months, collection.undated, collection.without_place)
    return (
        collection.id,
        *map(str, counts),
        *(("", "") if time is None else map(acquired, time.interval[0])),
        *(("",) * 4 if place is None else _degrees(place.bbox[0])),
    )


def _distances(properties: dict[str, Any], parts: Sequence[str]) -> tuple[str, ...]:
    """Return the distance, and that in each part of the codes."""
    return bits(properties["distance"]), *(bits(properties[f"{name}_distance"]) for name in parts)


def _time(text: str | None) -> str:
    return acquired(None if text is None else datetime.fromisoformat(text))


def _degrees(sides: Sequence[float]) -> tuple[str, ...]:
    """Return degrees with six decimals at most, a tenth of a metre, as columns of the API have them."""
    texts = [f"{round(side, 6) + 0:.6f}" for side in sides]  # + 0: no -0
    return tuple(text.rstrip("0").rstrip(".") for text in texts)


def _source(answer: GridAnswer | ChangesAnswer | ChipsAnswer) -> str:
    return f"model {answer.model_id}, version {answer.snapshot}; {answer.took_ms} ms"
