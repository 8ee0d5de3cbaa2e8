"""The page of an evaluation: one HTML file that needs nothing else."""

from collections.abc import Sequence
from html import escape

from pipelines.evaluate.charts import bars, histogram, line_chart
from pipelines.evaluate.figures import (
    BUNDLE,
    COSINE,
    LEAVE_ONE_OUT,
    EvaluateReport,
    Figures,
    Knows,
    Protocol,
)
from pipelines.evaluate.tiles import STYLE, Thumbnails, changed_sheet, contact_sheet

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
dt { font-weight: 600 } dd { margin: 0 0 .4rem } .alarm { color: #dc2626; font-weight: 600 }
"""

_SHOWN = (1, 10, 100)  # cut-offs in the tables; evaluation.json has all
_UNREADABLE = 20  # rows of that table

_SHEET_NOTE = (
    "By average precision, two of a class at most. Beside each the chips that this bundle's codes put "
    "nearest to it, ties in the order of rows; \u2713 shares a class, \u2717 doesn't."
)

_KNOWS = {
    "trained_map20": (
        "trained mAP@20",
        "mean average precision over the first 20, among the test chips of classes that the bundle was "
        "trained on; each chip asks and is left out of its own list",
    ),
    "unseen_map20": ("unseen mAP@20", "the same among the chips of classes that it wasn't trained on"),
    "in_class_recall10": (
        "order within class",
        "of the ten nearest chips of the own class by float cosine, the share among the ten nearest of the "
        "own class in this list; classes of ten others or fewer are left out",
    ),
    "kept_recall10": (
        "neighbours kept",
        "of the ten nearest chips by float cosine, the share among the first hundred of this list",
    ),
    "tied10": (
        "tied at the tenth",
        "chips at the distance of the tenth, itself included; median over the queries",
    ),
    "distinct": ("distinct codes", "distinct codes over codes"),
    "turned_first": (
        "turned, first",
        "a chip turned by 90 degrees asks: the chance that the chip as it is comes first",
    ),
    "turned_first10": ("turned, in ten", "the chance that it is among the first ten"),
    "place10": (
        "place, other date",
        "the chance that one of the ten nearest at least has the footprint of the query at another date",
    ),
}

_HEALTH = {
    "distinct_ratio": "distinct codes",
    "mean_bit_on": "bits on",
    "worst_bit_on": "worst bit on",
    "bit_entropy": "bit entropy",
    "mean_abs_correlation": "bit correlation",
}


def render(report: EvaluateReport, thumbnails: Thumbnails) -> str:
    """Return the page: tables, charts, contact sheets and code health.

    ``thumbnails`` are pictures by row (see `sheets.read_thumbnails`).
    """
    sections = [_heading(report), "<h2>What each method knows</h2>", *_knows(report)]
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
    if report.changed:
        sections.append("<h2>Queries whose order changed most</h2>")
        sections += [changed_sheet(changed, thumbnails) for changed in report.changed]
    sections += ["<h2>Code health</h2>", *_health(report)]
    if report.unreadable:
        sections += ["<h2>Unreadable chips</h2>", _unreadable_table(report)]
    title = escape(f"Evaluation of {report.model_id}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}{STYLE}</style></head>\n<body>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def _heading(report: EvaluateReport) -> str:
    chips = ", ".join(f"{count} {split}" for split, count in report.chips.items())
    several = " Chips carry several labels: one shared makes two alike." if report.multi_label else ""
    parts = ", ".join(f"{bits} {name} bits" for name, bits in report.parts.items())
    if len(report.parts) > 1:
        parts += f", each kind bit counting {report.weights['kind']} times and each look bit once"
    return (
        f"<h1>{escape(report.model_id)}</h1><p>{escape(parts)}; {escape(chips)} chips of {report.classes} "
        f"classes ({escape(report.source)}).{several}</p><p>{escape(_unseen(report))}</p>"
        '<p class="note">Every figure is the mean over all orders of tied chips. The baselines are made of '
        f"the backbone's {report.features} pooled features, fitted on the train split "
        f"(seed {report.seed}).</p>"
    )


def _unseen(report: EvaluateReport) -> str:
    """Say which classes the bundle wasn't trained on, and what it means where there are none."""
    if not report.unseen_classes:
        return (
            "The bundle was trained on every class here: nothing on this page says how it does on classes "
            "that nobody labelled. Hold some out of training with --split.unseen-classes."
        )
    if len(report.unseen_classes) == report.classes:
        return "The bundle was trained on none of these classes: every figure is of unseen classes."
    return f"Unseen classes, on which the bundle wasn't trained: {', '.join(report.unseen_classes)}."


def _knows(report: EvaluateReport) -> list[str]:
    """Return a table of a row a method, and what its columns mean."""
    header = ["method", "bits", *(title for title, _ in _KNOWS.values())]
    caption = f"The {report.chips['test']} test chips"
    if report.places:
        caption += f"; places of {report.places}"
    meanings = [f"<dt>{escape(title)}</dt><dd>{escape(meaning)}</dd>" for title, meaning in _KNOWS.values()]
    note = (
        "Empty: floats have no codes, or there are too few chips, classes or places. A part alone "
        "leaves its ties to chance; a search puts them in the order of the other part."
    )
    return [
        _table(header, [_knows_cells(knows) for knows in report.knows], caption),
        f'<dl class="note">{"".join(meanings)}</dl><p class="note">{escape(note)}</p>',
    ]


def _knows_cells(knows: Knows) -> list[str]:
    cells = [knows.method, "float" if knows.bits is None else str(knows.bits)]
    for name in _KNOWS:
        value = getattr(knows, name)
        cells.append("" if value is None else f"{value:g}" if name == "tied10" else f"{value:.3f}")
    return cells


def _protocol(protocol: Protocol) -> list[str]:
    own = protocol.methods[0]
    greatest = len(own.precision_within or ()) - 1
    depth = max(own.precision_at_k)
    curves = {figures.method: figures.precision_recall for figures in protocol.methods}
    precisions = {figures.method: list(figures.precision_at_k.items()) for figures in protocol.methods}
    recalls = {figures.method: list(figures.recall_at_k.items()) for figures in protocol.methods}
    within = {  # distances compare between codes of one length and weights only
        figures.method: list(enumerate(radii)) if len(radii) == greatest + 1 else []
        for figures in protocol.methods
        for radii in (figures.precision_within or [],)
    }
    return [
        f"<h2>{escape(protocol.name.capitalize())}</h2>",
        _method_table(protocol),
        '<div class="row">',
        _figure(
            line_chart(curves, "recall", "precision"),
            "Precision and recall within each distance, or down to each similarity, over all pairs.",
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
            line_chart(within, "distance", "precision within", x_end=greatest),
            "Precision within each distance, mean over the queries; 0 for one with nothing there.",
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


def _health(report: EvaluateReport) -> list[str]:
    """Say whether codes have collapsed, and show each part's health in each split."""
    if report.collapsed:
        items = "".join(f"<li>{escape(line)}</li>" for line in report.collapsed)
        verdict = f'<p class="alarm">The codes of the test chips have collapsed:</p><ul>{items}</ul>'
    else:
        verdict = "<p>The codes of the test chips haven't collapsed, by the thresholds of the gate.</p>"
    rows = [
        [split, name, *(f"{health[f'{prefix}{figure}']:.3f}" for figure in _HEALTH)]
        for split, health in report.health.items()
        for name, prefix in _part_prefixes(report)
    ]
    caption = "Balanced, independent bits: .5 on, entropy 1, correlation 0"
    return [verdict, _table(["split", "part", *_HEALTH.values()], rows, caption)]


def _part_prefixes(report: EvaluateReport) -> list[tuple[str, str]]:
    """Return each part and how the names of its health begin."""
    names = list(report.parts)
    return [(name, f"{name}_" if len(names) > 1 else "") for name in names]


def _unreadable_table(report: EvaluateReport) -> str:
    shown = report.unreadable[:_UNREADABLE]
    more = f"; the first {len(shown)}" if len(shown) < len(report.unreadable) else ""
    caption = f"{len(report.unreadable)} chips, left out of every figure{more}"
    return _table(["chip of", "reason"], [[chip.uri, chip.reason] for chip in shown], caption)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    lines = [f"<table><caption>{escape(caption)}</caption><tr>"]
    lines += [f"<th>{escape(cell)}</th>" for cell in header]
    for row in rows:
        lines.append('</tr><tr class="own">' if row[0].startswith(BUNDLE) else "</tr><tr>")
        lines += [f"<td>{escape(cell)}</td>" for cell in row]
    return "".join(lines) + "</tr></table>"


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _distances(protocol: Protocol) -> str:
    shares = {
        name: [count / max(1, sum(counts)) for count in counts]
        for name, counts in (("same class", protocol.same_class), ("other class", protocol.different_class))
    }
    return histogram(shares, "distance", "share of pairs")


def _class_bars(protocol: Protocol) -> str:
    own, cosine = (
        next(figures.map_of_class for figures in protocol.methods if figures.method == method)
        for method in (BUNDLE, COSINE)
    )
    return bars(dict(sorted(own.items(), key=lambda item: -item[1])), cosine, "mAP by class")
