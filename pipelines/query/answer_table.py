"""Prints an answer as a table in the terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.api.answers import Match, SearchAnswer


def print_answer(answer: SearchAnswer, console: Console) -> None:
    """Print an answer as a table, one line for each chip."""
    parts = [part.name for part in answer.search.parts] if len(answer.search.parts) > 1 else []
    table = Table(
        *("rank", "bits", *parts, "chip", "acquired", "collection", "lon, lat", "source"),
        caption=_summary(answer),
    )
    for match in answer.features:
        properties = match.properties
        table.add_row(
            str(properties.rank),
            distance(match),
            *(_bits(getattr(properties, f"{name}_distance")) for name in parts),
            _plain(match.id),
            acquired(match),
            _plain(properties.collection),
            centre(match),
            _plain(properties.uri),
            style="dim" if properties.beyond_chance else None,
        )
    console.print(table)


def distance(match: Match) -> str:
    """Return a chip's distance [bits], with two decimals if it isn't a whole number."""
    return _bits(match.properties.distance)


def part_distances(match: Match) -> str:
    """Return a chip's distance in each part of its code [bits]; "" for codes of one part."""
    kind, look = match.properties.kind_distance, match.properties.look_distance
    return "" if kind is None or look is None else f"kind {_bits(kind)}, look {_bits(look)}"


def chance_note(answer: SearchAnswer) -> str:
    """Return which chips of an answer are no nearer than by chance; "" if none are, or it isn't known."""
    chance, matches = answer.search.chance_distance, answer.features
    beyond = sum(match.properties.beyond_chance for match in matches)
    if chance is None or not beyond:
        return ""
    which = "all of them are" if beyond == len(matches) else f"the last {beyond} are"
    return f"{which} no nearer than chance, which gives {_bits(chance)} bits"


def acquired(match: Match) -> str:
    """Return when the chip was acquired, in UTC; "" if it isn't known."""
    time = match.properties.datetime
    return f"{time:%Y-%m-%d %H:%M}" if time else ""


def centre(match: Match) -> str:
    """Return the centre of the chip's bounding box, "longitude, latitude" in degrees; "" if it has none."""
    if match.bbox is None:
        return ""
    west, south, east, north = match.bbox
    longitude = (west + (east - west) % 360 / 2 + 180) % 360 - 180
    return f"{longitude:.4f}, {(south + north) / 2:.4f}"


def _summary(answer: SearchAnswer) -> Text:
    search = answer.search
    more = "" if answer.numberReturned == answer.numberMatched else " (--all: all of them)"
    note = chance_note(answer)
    return _plain(
        f"{answer.numberReturned} of {answer.numberMatched} chips{more}, "
        f"{search.ties_at_cutoff} more tied with the last; model {search.model_id}, "
        f"version {search.snapshot}; {search.codes_compared} codes in {search.took_ms} ms"
        f"{f'; {note}' if note else ''}"
    )


def _bits(distance: float) -> str:
    return f"{distance:.2f}" if distance % 1 else f"{distance:.0f}"


def _plain(text: str) -> Text:
    """Return a text of the service without anything that rich or the terminal would interpret."""
    return Text("".join(letter if letter.isprintable() else "\ufffd" for letter in text))
