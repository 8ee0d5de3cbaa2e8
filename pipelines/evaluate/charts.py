"""Charts as inline SVG: no library, no script, nothing fetched."""

from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

COLOURS = ("#1d4ed8", "#ea580c", "#059669", "#7c3aed", "#64748b")

_WIDTH, _HEIGHT = 560, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 16, 48
_LEGEND = 18  # height of a legend's row, of two names
_ROW = 20  # height of a bar's row


def line_chart(
    lines: Mapping[str, Points], x_title: str, y_title: str, x_end: float = 1, y_end: float = 1
) -> str:
    """Draw lines over 0..x_end and 0..y_end, with their names as the legend.

    A line without points isn't drawn, but its colour isn't given to another: a method has the same colour in
    all charts.
    """
    parts = _axes(x_title, y_title, x_end, y_end)
    drawn = 0
    for number, (name, points) in enumerate(lines.items()):
        if points:
            colour = COLOURS[number % len(COLOURS)]
            path = " ".join(f"{_x(x, x_end):.1f},{_y(y, y_end):.1f}" for x, y in points)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts.append(_legend(name, drawn, colour))
            drawn += 1
    return _svg(parts, _with_legend(drawn), f"{y_title} over {x_title}")


def histogram(shares: Mapping[str, Sequence[float]], x_title: str, y_title: str) -> str:
    """Draw distributions over 0, 1, 2, ... as filled steps, centred on these numbers, one over the other."""
    end = max(len(heights) for heights in shares.values()) - 1
    highest = max((max(heights) for heights in shares.values()), default=0) or 1
    parts = _axes(x_title, y_title, end, highest)
    for number, (name, heights) in enumerate(shares.items()):
        colour = COLOURS[number % len(COLOURS)]
        corners = [(0.0, 0.0)]
        for place, height in enumerate(heights):
            corners += [(max(0, place - 0.5), height), (min(end, place + 0.5), height)]
        corners.append((end, 0))
        path = " ".join(f"{_x(x, end):.1f},{_y(y, highest):.1f}" for x, y in corners)
        parts.append(f'<polygon points="{path}" fill="{colour}" fill-opacity=".3" stroke="{colour}"/>')
        parts.append(_legend(name, number, colour))
    return _svg(parts, _with_legend(len(shares)), f"{y_title} over {x_title}")


def bars(values: Mapping[str, float], marks: Mapping[str, float], title: str) -> str:
    """Draw a row with a bar of 0..1 for each value, and a stroke at the value in ``marks``, if any."""
    label_width = 170
    scale = _WIDTH - label_width - 60
    parts = []
    for row, (name, value) in enumerate(values.items()):
        top = row * _ROW
        parts += [
            f'<text x="{label_width - 8}" y="{top + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{label_width}" y="{top + 3}" width="{value * scale:.1f}" height="{_ROW - 6}" '
            f'fill="{COLOURS[0]}"><title>{escape(name)}: {value:.3f}</title></rect>',
            f'<text x="{_WIDTH - 52}" y="{top + 14}">{value:.3f}</text>',
        ]
        if name in marks:
            x = label_width + marks[name] * scale
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top + 1}" y2="{top + _ROW - 1}" '
                f'stroke="{COLOURS[1]}" stroke-width="3"/>'
            )
    return _svg(parts, _ROW * len(values) + 4, title)


def _x(value: float, end: float) -> float:
    return _LEFT + value / end * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, end: float) -> float:
    return _HEIGHT - _BOTTOM - value / end * (_HEIGHT - _TOP - _BOTTOM)


def _axes(x_title: str, y_title: str, x_end: float, y_end: float) -> list[str]:
    """Return the frame's grid lines with their numbers, a quarter apart, and the titles."""
    parts = []
    for quarter in range(5):
        x, y = _x(quarter, 4), _y(quarter, 4)
        parts += [
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>',
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">'
            f"{x_end * quarter / 4:.3g}</text>",
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{y_end * quarter / 4:.2g}</text>',
        ]
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts += [
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 10}" text-anchor="middle">'
        f"{escape(x_title)}</text>",
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">'
        f"{escape(y_title)}</text>",
    ]
    return parts


def _legend(name: str, number: int, colour: str) -> str:
    """Return the legend's entry of that number: a square of the colour and the name, below the chart."""
    x, y = _LEFT + number % 2 * (_WIDTH - _LEFT) // 2, _HEIGHT + 8 + number // 2 * _LEGEND
    return (
        f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/>'
        f'<text x="{x + 16}" y="{y}">{escape(name)}</text>'
    )


def _with_legend(names: int) -> int:
    return _HEIGHT + (names + 1) // 2 * _LEGEND


def _svg(parts: Sequence[str], height: int, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )
