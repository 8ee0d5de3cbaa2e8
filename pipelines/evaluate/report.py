"""The page of an evaluation: one HTML file that needs nothing else."""

from collections.abc import Sequence
from html import escape
from itertools import accumulate

from pipelines.evaluate.charts import bars, histogram, line_chart
from pipelines.evaluate.figures import BUNDLE, COSINE, EvaluateReport, Figures, Protocol

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
"""

_HEALTH = {
    "distinct_ratio": "distinct codes",
    "mean_bit_on": "bits on",
    "worst_bit_on": "worst bit on",
    "bit_entropy": "bit entropy",
    "mean_abs_correlation": "bit correlation",
}


def render(report: EvaluateReport) -> str:
    """Return the page: tables, precision over recall, distances, classes and code health."""
    sections = [_heading(report)]
    for protocol in report.protocols:
        sections += [
            f"<h2>{escape(protocol.name.capitalize())}</h2>",
            _method_table(protocol),
            '<div class="row">',
            _figure(
                _precision_recall(protocol), "Precision and recall within each Hamming radius, all pairs."
            ),
            _figure(_distances(protocol), "Distances of this bundle's codes."),
            "</div>",
            _figure(_class_bars(protocol), f"mAP by class; the stroke is {COSINE}."),
        ]
    sections += ["<h2>Code health</h2>", _health_table(report)]
    title = escape(f"Evaluation of {report.model_id}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def _heading(report: EvaluateReport) -> str:
    chips = ", ".join(f"{count} {split}" for split, count in report.chips.items())
    unseen = ", ".join(report.unseen_classes) or "none"
    return (
        f"<h1>{escape(report.model_id)}</h1><p>{report.bits} bits; {chips} chips of {report.classes} classes "
        f"({escape(report.manifest)}); classes not trained on: {escape(unseen)}.</p>"
        '<p class="note">Every figure is the mean over all orders of tied chips. The baselines are made of '
        f"the backbone's {report.features} pooled features, fitted on the train split "
        f"(seed {report.seed}).</p>"
    )


def _method_table(protocol: Protocol) -> str:
    rows = [_method_cells(figures) for figures in protocol.methods]
    left_out = f", {protocol.unanswerable} left out that had nothing to find" if protocol.unanswerable else ""
    cutoffs = protocol.methods[0].precision_at_k
    header = ["method", "bits", "mAP", "mAP@20", *(f"P@{k}" for k in cutoffs), *(f"R@{k}" for k in cutoffs)]
    header += ["P within 2", "distinct"]
    caption = f"{protocol.queries} queries{left_out}, {protocol.database} chips in the database"
    return _table(header, rows, caption)


def _method_cells(figures: Figures) -> list[str]:
    measured = [figures.map_all, figures.map_at_k[20]]
    measured += [*figures.precision_at_k.values(), *figures.recall_at_k.values()]
    bits = "float" if figures.bits is None else str(figures.bits)
    numbers = [*measured, figures.precision_within_2, figures.distinct_ratio]
    return [figures.method, bits, *("" if value is None else f"{value:.3f}" for value in numbers)]


def _health_table(report: EvaluateReport) -> str:
    rows = [[split, *(f"{health[name]:.3f}" for name in _HEALTH)] for split, health in report.health.items()]
    return _table(
        ["split", *_HEALTH.values()], rows, "Balanced, independent bits: .5 on, entropy 1, correlation 0"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    lines = [f"<table><caption>{escape(caption)}</caption><tr>"]
    lines += [f"<th>{escape(cell)}</th>" for cell in header]
    for row in rows:
        lines.append('</tr><tr class="own">' if row[0] == BUNDLE else "</tr><tr>")
        lines += [f"<td>{escape(cell)}</td>" for cell in row]
    return "".join(lines) + "</tr></table>"


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _precision_recall(protocol: Protocol) -> str:
    same = list(accumulate(protocol.same_class))
    different = list(accumulate(protocol.different_class))
    points = [(s / same[-1], s / (s + d)) for s, d in zip(same, different, strict=True) if s + d]
    return line_chart({BUNDLE: points}, "recall", "precision")


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
