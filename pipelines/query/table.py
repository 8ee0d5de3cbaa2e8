"""An answer as a table for a terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.api.answers import Match, SearchAnswer


def print_answer(answer: SearchAnswer, console: Console) -> None:
    """Print the answer as a table, one line a chip."""
    table = Table(
        "rank", "bits", "chip", "acquired", "collection", "lon, lat", "source", caption=_summary(answer)
    )
    for match in answer.features:
        properties = match.properties
        table.add_row(
            str(properties.rank),
            distance(match),
            _plain(match.id),
            acquired(match),
            _plain(properties.collection),
            centre(match),
            _plain(properties.uri),
        )
    console.print(table)


def distance(match: Match) -> str:
    """Return how far away the chip is [bits]; from several examples it is a mean, with decimals."""
    bits = match.properties.distance
    return str(bits) if isinstance(bits, int) else f"{bits:.2f}"


def acquired(match: Match) -> str:
    """Return when the chip was acquired, in UTC; empty where nobody knows."""
    time = match.properties.datetime
    return f"{time:%Y-%m-%d %H:%M}" if time else ""


def centre(match: Match) -> str:
    """Return the centre of the chip's box; a box over the antimeridian has west > east."""
    if match.bbox is None:
        return ""
    west, south, east, north = match.bbox
    longitude = (west + (east - west) % 360 / 2 + 180) % 360 - 180
    return f"{longitude:.4f}, {(south + north) / 2:.4f}"


def _summary(answer: SearchAnswer) -> Text:
    search = answer.search
    more = "" if answer.numberReturned == answer.numberMatched else " (--all: all of them)"
    return _plain(
        f"{answer.numberReturned} of {answer.numberMatched} chips{more}, "
        f"{search.ties_at_cutoff} more tied with the last; model {search.model_id}, "
        f"version {search.snapshot}; {search.codes_compared} codes in {search.took_ms} ms"
    )


def _plain(text: str) -> Text:
    """Return what the service says as it stands: neither markup nor a terminal's escape sequences."""
    return Text("".join(letter if letter.isprintable() else "\ufffd" for letter in text))
