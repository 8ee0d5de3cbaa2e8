"""Rows of pictures on the page: queries and what is nearest to them."""

from collections.abc import Mapping, Sequence
from html import escape

from pipelines.evaluate.figures import COSINE, ChangedOrders, Example, ExampleChip, Neighbour

STYLE = """
.sheet { display: flex; gap: .5rem; margin: .5rem 0 } .tile { flex: 0 0 108px }
.tile figcaption { font-size: 12px; line-height: 1.3; overflow-wrap: anywhere }
.tile img, .gone { box-sizing: border-box; width: 108px; height: 108px; border: 4px solid }
.tile img { object-fit: contain }
.gone { display: block; padding-top: 38px; text-align: center; font-size: 12px }
.query { color: #1d4ed8; margin-right: 1rem } .right { color: #16a34a } .wrong { color: #dc2626 }
.orders { display: flex; overflow-x: auto; border-top: 1px solid #e5e7eb; padding-top: .5rem }
.orders p { margin: .3rem 0 0; font-weight: 600 }
"""

Thumbnails = Mapping[int, str]
"""Pictures as data URIs, by row of the labelled chips."""


def contact_sheet(examples: Sequence[Example], thumbnails: Thumbnails) -> str:
    """Return a row a query: its picture, then what is nearest to it, framed as right or wrong."""
    rows = []
    for example in examples:
        tiles = [_tile(example.query, "query", f"AP {example.average_precision:.3f}", thumbnails)]
        tiles += [
            _answer(neighbour, f"distance {neighbour.distance:g}", thumbnails)
            for neighbour in example.nearest
        ]
        rows.append(f'<div class="sheet">{"".join(tiles)}</div>')
    return "\n".join(rows)


def changed_sheet(changed: ChangedOrders, thumbnails: Thumbnails) -> str:
    """Return, for each query, its picture and a row of what is nearest for each method."""
    parts = [
        f"<h3>{escape(changed.first.capitalize())}, beside {escape(changed.second)}</h3>",
        f'<p class="note">Both have {changed.mean_shared:.0%} of the first ten in common, mean over all '
        "queries. Below are the queries where they share least, two of a class at most.</p>",
    ]
    for query in changed.queries:
        rows = []
        for ordered in query.lists:
            is_cosine = ordered.method == COSINE
            tiles = [
                _answer(
                    chip,
                    f"cosine {1 - chip.distance:.2f}" if is_cosine else f"distance {chip.distance:g}",
                    thumbnails,
                )
                for chip in ordered.nearest
            ]
            rows.append(f'<p>{escape(ordered.method)}</p><div class="sheet">{"".join(tiles)}</div>')
        tile = _tile(query.query, "query", f"{query.shared:.0%} shared", thumbnails)
        parts.append(f'<div class="orders">{tile}<div>{"".join(rows)}</div></div>')
    return "\n".join(parts)


def _answer(neighbour: Neighbour, distance: str, thumbnails: Thumbnails) -> str:
    kind, mark = ("right", "\u2713") if neighbour.right else ("wrong", "\u2717")
    return _tile(neighbour, kind, f"{mark} {distance}", thumbnails)


def _tile(chip: ExampleChip, kind: str, note: str, thumbnails: Thumbnails) -> str:
    labels, where = escape(", ".join(chip.labels)), f"{chip.uri} {chip.window or ''}".strip()
    picture = thumbnails.get(chip.row)
    image = f'<img src="{picture}" alt="{labels}">' if picture else '<span class="gone">unreadable</span>'
    return (
        f'<figure class="tile {kind}" title="{escape(where)}">{image}'
        f"<figcaption>{labels}<br>{escape(note)}</figcaption></figure>"
    )
