"""The page of an evaluation: one HTML file that needs nothing else."""

from collections.abc import Mapping, Sequence
from html import escape

from pipelines.evaluate.charts import bars, histogram, line_chart
from pipelines.evaluate.figures import (
    BUNDLE,
    COSINE,
    LEAVE_ONE_OUT,
    EvaluateReport,
    Example,
    ExampleChip,
    Figures,
    Neighbour,
    Protocol,
)

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem }
table { border-collapse: collapse; margin: .5rem 0 } caption { text-align: left; color: #6b7280 }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #e5e7eb; text-align: right }
th:first-child, td:first-child { text-align: left } tr.own { font-weight: 600; background: #eff6ff }
figure { margin: 0; flex: 1 1 500px } .row { display: flex; flex-wrap: wrap; gap: 1.5rem }
svg { width: 100%; max-width: 640px; height: auto }
svg text { font: 11px system-ui, sans-serif; fill: #374151 }
svg .grid { stroke: #e5e7eb } figcaption, .note { color: #6b7280; font-size: 13px }
.sheet { display: flex; gap: .5rem; margin: .5rem 0 } .tile { flex: 0 0 108px }
.tile figcaption { font-size: 12px; line-height: 1.3; overflow-wrap: anywhere }
.tile img, .gone { box-sizing: border-box; width: 108px; height: 108px; border: 4px solid }
.tile img { object-fit: contain }
.gone { display: block; padding-top: 38px; text-align: center; font-size: 12px }
.query { color: #1d4ed8; margin-right: 1rem } .right { color: #16a34a } .wrong { color: #dc2626 }
"""

_SHOWN = (1, 10, 100)  # cut-offs in the tables; evaluation.json has all
_UNREADABLE = 20  # rows of that table

_SHEET_NOTE = (
    "By average precision, two of a class at most. Beside each the chips that this bundle's codes put "
    "nearest to it, ties in the order of rows; \u2713 shares a class, \u2717 doesn't."
)

_HEALTH = {
    "distinct_ratio": "distinct codes",
    "mean_bit_on": "bits on",
    "worst_bit_on": "worst bit on",
    "bit_entropy": "bit entropy",
    "mean_abs_correlation": "bit correlation",
}


def render(report: EvaluateReport, thumbnails: Mapping[int, str]) -> str:
    """Return the page: tables, charts, contact sheets and code health.

    ``thumbnails`` are data URIs by row (see `sheets.read_thumbnails`).
    """
    sections = [_heading(report)]
    for protocol in report.protocols:
        sections += _protocol(protocol)
        if protocol.name == LEAVE_ONE_OUT:
            sections += [
                "<h3>Best queries</h3>",
                f'<p class="note">{_SHEET_NOTE}</p>',
                contact_sheet(report.best, thumbnails),
                "<h3>Worst queries</h3>",
                contact_sheet(report.worst, thumbnails),
            ]
    sections += ["<h2>Code health</h2>", _health_table(report)]
    if report.unreadable:
        sections += ["<h2>Unreadable chips</h2>", _unreadable_table(report)]
    title = escape(f"Evaluation of {report.model_id}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def _heading(report: EvaluateReport) -> str:
    chips = ", ".join(f"{count} {split}" for split, count in report.chips.items())
    unseen = ", ".join(report.unseen_classes) or "none"
    several = " Chips carry several labels: one shared makes two alike." if report.multi_label else ""
    return (
        f"<h1>{escape(report.model_id)}</h1><p>{report.bits} bits; {chips} chips of {report.classes} classes "
        f"({escape(report.source)}); classes not trained on: {escape(unseen)}.{several}</p>"
        '<p class="note">Every figure is the mean over all orders of tied chips. The baselines are made of '
        f"the backbone's {report.features} pooled features, fitted on the train split "
        f"(seed {report.seed}).</p>"
    )


def _protocol(protocol: Protocol) -> list[str]:
    own = protocol.methods[0]
    depth = max(own.precision_at_k)
    curves = {figures.method: figures.precision_recall for figures in protocol.methods}
    precisions = {figures.method: list(figures.precision_at_k.items()) for figures in protocol.methods}
    recalls = {figures.method: list(figures.recall_at_k.items()) for figures in protocol.methods}
    within = {  # radii compare between codes of one length only
        figures.method: list(enumerate(figures.precision_within or ())) if figures.bits == own.bits else []
        for figures in protocol.methods
    }
    return [
        f"<h2>{escape(protocol.name.capitalize())}</h2>",
        _method_table(protocol),
        '<div class="row">',
        _figure(
            line_chart(curves, "recall", "precision"),
            "Precision and recall within each Hamming radius, or down to each similarity, over all pairs.",
        ),
        _figure(_distances(protocol), "Distances of this bundle's codes."),
        _figure(
            line_chart(precisions, "k", "precision at k", x_end=depth),
            "Share of right chips among the first k.",
        ),
        _figure(
            line_chart(recalls, "k", "recall at k", x_end=depth),
            "Share of all right chips that is among the first k.",
        ),
        _figure(
            line_chart(within, "Hamming radius [bits]", "precision within", x_end=own.bits or 1),
            "Precision within each radius, mean over the queries; 0 for one with nothing there.",
        ),
        _figure(_class_bars(protocol), f"mAP by class; the stroke is {COSINE}."),
        "</div>",
    ]


def _method_table(protocol: Protocol) -> str:
    rows = [_method_cells(figures) for figures in protocol.methods]
    left_out = f", {protocol.unanswerable} left out that had nothing to find" if protocol.unanswerable else ""
    header = ["method", "bits", "mAP", "mAP@20", *(f"P@{k}" for k in _SHOWN), *(f"R@{k}" for k in _SHOWN)]
    header += ["P within 2", "distinct"]
    caption = f"{protocol.queries} queries{left_out}, {protocol.database} chips in the database"
    return _table(header, rows, caption)


def _method_cells(figures: Figures) -> list[str]:
    measured = [figures.map_all, figures.map_at_k[20]]
    measured += [*(figures.precision_at_k[k] for k in _SHOWN), *(figures.recall_at_k[k] for k in _SHOWN)]
    bits = "float" if figures.bits is None else str(figures.bits)
    numbers = [*measured, figures.precision_within_2, figures.distinct_ratio]
    return [figures.method, bits, *("" if value is None else f"{value:.3f}" for value in numbers)]


def _health_table(report: EvaluateReport) -> str:
    rows = [[split, *(f"{health[name]:.3f}" for name in _HEALTH)] for split, health in report.health.items()]
    return _table(
        ["split", *_HEALTH.values()], rows, "Balanced, independent bits: .5 on, entropy 1, correlation 0"
    )


def _unreadable_table(report: EvaluateReport) -> str:
    shown = report.unreadable[:_UNREADABLE]
    more = f"; the first {len(shown)}" if len(shown) < len(report.unreadable) else ""
    caption = f"{len(report.unreadable)} chips, left out of every figure{more}"
    return _table(["chip of", "reason"], [[chip.uri, chip.reason] for chip in shown], caption)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    lines = [f"<table><caption>{escape(caption)}</caption><tr>"]
    lines += [f"<th>{escape(cell)}</th>" for cell in header]
    for row in rows:
        lines.append('</tr><tr class="own">' if row[0] == BUNDLE else "</tr><tr>")
        lines += [f"<td>{escape(cell)}</td>" for cell in row]
    return "".join(lines) + "</tr></table>"


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _distances(protocol: Protocol) -> str:
    shares = {
        name: [count / max(1, sum(counts)) for count in counts]
        for name, counts in (("same class", protocol.same_class), ("other class", protocol.different_class))
    }
    return histogram(shares, "Hamming distance [bits]", "share of pairs")


def _class_bars(protocol: Protocol) -> str:
    own, cosine = (
        next(figures.map_of_class for figures in protocol.methods if figures.method == method)
        for method in (BUNDLE, COSINE)
    )
    return bars(dict(sorted(own.items(), key=lambda item: -item[1])), cosine, "mAP by class")


def contact_sheet(examples: Sequence[Example], thumbnails: Mapping[int, str]) -> str:
    """Return a row a query: its picture, then what is nearest to it, framed as right or wrong."""
    rows = []
    for example in examples:
        tiles = [_tile(example.query, "query", f"AP {example.average_precision:.3f}", thumbnails)]
        tiles += [_answer(neighbour, thumbnails) for neighbour in example.nearest]
        rows.append(f'<div class="sheet">{"".join(tiles)}</div>')
    return "\n".join(rows)


def _answer(neighbour: Neighbour, thumbnails: Mapping[int, str]) -> str:
    kind, mark = ("right", "\u2713") if neighbour.right else ("wrong", "\u2717")
    bits = "1 bit" if neighbour.distance == 1 else f"{neighbour.distance} bits"
    return _tile(neighbour, kind, f"{mark} {bits}", thumbnails)


def _tile(chip: ExampleChip, kind: str, note: str, thumbnails: Mapping[int, str]) -> str:
    labels, where = escape(", ".join(chip.labels)), f"{chip.uri} {chip.window or ''}".strip()
    picture = thumbnails.get(chip.row)
    image = f'<img src="{picture}" alt="{labels}">' if picture else '<span class="gone">unreadable</span>'
    return (
        f'<figure class="tile {kind}" title="{escape(where)}">{image}'
        f"<figcaption>{labels}<br>{escape(note)}</figcaption></figure>"
    )
