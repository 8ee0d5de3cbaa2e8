"""The page of an evaluation: one HTML file that needs nothing else.

Here are the tables and charts; the page around them is in templates/page.html.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipelines.evaluate.charts import bars, histogram, line_chart
from pipelines.evaluate.figures import (
    BUNDLE,
    COSINE,
    LEAVE_ONE_OUT,
    EvaluateReport,
    Figures,
    MethodOverview,
    Protocol,
)

TEMPLATES = Environment(
    loader=PackageLoader("pipelines.evaluate"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)

_SHOWN = (1, 10, 100)  # cut-offs in the tables; evaluation.json has all
_UNREADABLE = 20  # rows of that table

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
        "the chance that at least one of the ten nearest has the footprint of the query at another date",
    ),
}
"""Title and meaning of each column, by the name of its figure in `MethodOverview`."""

_HEALTH = {
    "distinct_ratio": "distinct codes",
    "mean_bit_on": "bits on",
    "worst_bit_on": "worst bit on",
    "bit_entropy": "bit entropy",
    "mean_abs_correlation": "bit correlation",
}
"""Title of each column, by the name of its figure in `model.metrics.CodeHealth`."""


@dataclass(frozen=True)
class Table:
    """The text of a table's cells. A row that begins with the bundle's name is highlighted."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str


@dataclass(frozen=True)
class Chart:
    """A chart and what it shows."""

    svg: str
    caption: str


@dataclass(frozen=True)
class ProtocolSection:
    """A protocol's part of the page."""

    name: str
    table: Table
    charts: Sequence[Chart]
    with_examples: bool
    """Whether the best and worst queries are shown: they are queries of this protocol."""


def render(report: EvaluateReport, thumbnails: Mapping[int, str]) -> str:
    """Return the page: tables, charts, contact sheets and code health.

    ``thumbnails`` are pictures by row (see `sheets.read_thumbnails`).
    """
    return TEMPLATES.get_template("page.html").render(
        report=report,
        thumbnails=thumbnails,
        bundle=BUNDLE,
        cosine=COSINE,
        parts=_parts(report),
        chips=", ".join(f"{count} {split}" for split, count in report.chips.items()),
        knows=_knows_table(report),
        meanings=_KNOWS.values(),
        protocols=[_protocol(protocol) for protocol in report.protocols],
        health=_health_table(report),
        unreadable=_unreadable_table(report),
    )


def _parts(report: EvaluateReport) -> str:
    parts = ", ".join(f"{bits} {name} bits" for name, bits in report.parts.items())
    if len(report.parts) > 1:
        parts += f", each kind bit counting {report.weights['kind']} times and each look bit once"
    return parts


def _knows_table(report: EvaluateReport) -> Table:
    """Return a row for each method."""
    caption = f"The {report.chips['test']} test chips"
    if report.places:
        caption += f"; places of {report.places}"
    header = ["method", "bits", *(title for title, _ in _KNOWS.values())]
    return Table(header, [_knows_cells(knows) for knows in report.knows], caption)


def _knows_cells(knows: MethodOverview) -> list[str]:
    cells = [knows.method, "float" if knows.bits is None else str(knows.bits)]
    for name in _KNOWS:
        value = getattr(knows, name)
        cells.append("" if value is None else f"{value:g}" if name == "tied10" else f"{value:.3f}")
    return cells


def _protocol(protocol: Protocol) -> ProtocolSection:
    return ProtocolSection(
        protocol.name, _method_table(protocol), _charts(protocol), protocol.name == LEAVE_ONE_OUT
    )


def _charts(protocol: Protocol) -> list[Chart]:
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
        Chart(
            line_chart(curves, "recall", "precision"),
            "Precision and recall within each distance, or down to each similarity, over all pairs.",
        ),
        Chart(_distances(protocol), "Distances of this bundle's codes."),
        Chart(
            line_chart(precisions, "k", "precision at k", x_end=depth),
            "Share of right chips among the first k.",
        ),
        Chart(
            line_chart(recalls, "k", "recall at k", x_end=depth),
            "Share of all right chips that is among the first k.",
        ),
        Chart(
            line_chart(within, "distance", "precision within", x_end=greatest),
            "Precision within each distance, mean over the queries; 0 for one with nothing there.",
        ),
        Chart(_class_bars(protocol), f"mAP by class; the stroke is {COSINE}."),
    ]


def _method_table(protocol: Protocol) -> Table:
    left_out = f", {protocol.unanswerable} left out that had nothing to find" if protocol.unanswerable else ""
    header = ["method", "bits", "mAP", "mAP@20", *(f"P@{k}" for k in _SHOWN), *(f"R@{k}" for k in _SHOWN)]
    return Table(
        [*header, "P within 2", "distinct"],
        [_method_cells(figures) for figures in protocol.methods],
        f"{protocol.queries} queries{left_out}, {protocol.database} chips in the database",
    )


def _method_cells(figures: Figures) -> list[str]:
    measured = [figures.map_all, figures.map_at_k[20]]
    measured += [*(figures.precision_at_k[k] for k in _SHOWN), *(figures.recall_at_k[k] for k in _SHOWN)]
    bits = "float" if figures.bits is None else str(figures.bits)
    numbers = [*measured, figures.precision_within_2, figures.distinct_ratio]
    return [figures.method, bits, *("" if value is None else f"{value:.3f}" for value in numbers)]


def _health_table(report: EvaluateReport) -> Table:
    """Return a row for each part of the code in each split."""
    several = len(report.parts) > 1
    rows = [
        [split, part, *(f"{health[f'{part}_{name}' if several else name]:.3f}" for name in _HEALTH)]
        for split, health in report.health.items()
        for part in report.parts
    ]
    caption = "Balanced, independent bits: .5 on, entropy 1, correlation 0"
    return Table(["split", "part", *_HEALTH.values()], rows, caption)


def _unreadable_table(report: EvaluateReport) -> Table:
    shown = report.unreadable[:_UNREADABLE]
    more = f"; the first {len(shown)}" if len(shown) < len(report.unreadable) else ""
    caption = f"{len(report.unreadable)} chips, left out of every figure{more}"
    return Table(["chip of", "reason"], [[chip.uri, chip.reason] for chip in shown], caption)


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
