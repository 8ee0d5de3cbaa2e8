"""An answer as a table of text."""

from collections.abc import Sequence
from datetime import datetime

from pipelines.api.answers import Match, SearchAnswer
from pipelines.api.requests import BBox
from pipelines.runtime.text_table import TextTable


def answer_table(answer: SearchAnswer) -> TextTable:
    """Return an answer as a table, a row for each chip."""
    parts = [part.name for part in answer.search.parts] if len(answer.search.parts) > 1 else []
    numbers = ("rank", "bits", *parts, "longitude", "latitude")
    return TextTable(
        header=("rank", "bits", "chip", *parts, "acquired", "collection", "longitude", "latitude", "source"),
        rows=[_row(match, parts) for match in answer.features],
        details=("chip", "source"),
        numbers=numbers,
        dim=[match.properties.beyond_chance for match in answer.features],
        summary=_summary(answer),
    )


def _row(match: Match, parts: Sequence[str]) -> tuple[str, ...]:
    properties = match.properties
    return (
        str(properties.rank),
        distance(match),
        match.id,
        *(bits(getattr(properties, f"{name}_distance")) for name in parts),
        acquired(properties.datetime),
        properties.collection,
        *(centre(match.bbox) or ("", "")),
        properties.uri,
    )


def distance(match: Match) -> str:
    """Return a chip's distance [bits], with two decimals if it isn't a whole number."""
    return bits(match.properties.distance)


def part_distances(match: Match) -> str:
    """Return a chip's distance in each part of its code [bits]; "" for codes of one part."""
    kind, look = match.properties.kind_distance, match.properties.look_distance
    return "" if kind is None or look is None else f"kind {bits(kind)}, look {bits(look)}"


def chance_note(answer: SearchAnswer) -> str:
    """Return which chips of an answer are no nearer than by chance; "" if none are, or it isn't known."""
    chance, matches = answer.search.chance_distance, answer.features
    beyond = sum(match.properties.beyond_chance for match in matches)
    if chance is None or not beyond:
        return ""
    which = "all of them are" if beyond == len(matches) else f"the last {beyond} are"
    return f"{which} no nearer than chance, which gives {bits(chance)} bits"


def acquired(time: datetime | None) -> str:
    """Return when a chip was acquired, in UTC; "" if it isn't known."""
    return f"{time:%Y-%m-%d %H:%M}" if time else ""


def centre(bbox: BBox | None) -> tuple[str, str] | None:
    """Return longitude and latitude of the centre of a chip's bounding box [degrees]; None without one."""
    if bbox is None:
        return None
    west, south, east, north = bbox
    longitude = (west + (east - west) % 360 / 2 + 180) % 360 - 180
    return f"{longitude:.4f}", f"{(south + north) / 2:.4f}"


def _summary(answer: SearchAnswer) -> str:
    search = answer.search
    more = "" if answer.numberReturned == answer.numberMatched else " (--all: all of them)"
    note = chance_note(answer)
    return (
        f"{answer.numberReturned} of {answer.numberMatched} chips{more}, "
        f"{search.ties_at_cutoff} more tied with the last; model {search.model_id}, "
        f"version {search.snapshot}; {search.codes_compared} codes in {search.took_ms} ms"
        f"{f'; {note}' if note else ''}"
    )


def bits(distance: float) -> str:
    """Return a distance, with two decimals if it isn't a whole number."""
    return f"{distance:.2f}" if distance % 1 else f"{distance:.0f}"
