"""The figures of evaluation.json, from which the page is made."""

from pydantic import BaseModel, ConfigDict

from model.spec import Compare
from pipelines.imagery.window import WindowTuple
from pipelines.labels.dataset import SplitConfig

BUNDLE = "this bundle"
COSINE = "cosine, float features"

LEAVE_ONE_OUT = "leave one out in test"
TEST_ASKS_TRAIN = "test asks train"
UNSEEN = "unseen classes, leave one out"


class Figures(BaseModel):
    """Quality of one method's lists, 0..1, means over the queries; ties averaged over all their orders."""

    model_config = ConfigDict(frozen=True)

    method: str
    bits: int | None
    """Bits that are compared; None if the method compares floats."""
    map_all: float
    """Mean average precision over the whole list."""
    map_at_k: dict[int, float]
    """The same over the first k, divided by min(k, number of relevant chips)."""
    precision_at_k: dict[int, float]
    recall_at_k: dict[int, float]
    map_of_class: dict[str, float]
    """``map_all`` over the queries of each class; a query of several classes counts in each."""
    precision_recall: list[tuple[float, float]]
    """Recall and precision over all pairs within each distance, or down to each similarity."""
    precision_within_2: float | None
    """Mean precision within distance 2, 0 for queries with nothing there; None: floats."""
    precision_within: list[float] | None
    """The same within each distance from 0 to the greatest that two codes can have."""
    distinct_ratio: float | None
    """Distinct codes over codes of the database; None: floats."""


class Protocol(BaseModel):
    """Which chips are the queries, which are the database, and how well each method answers."""

    model_config = ConfigDict(frozen=True)

    name: str
    queries: int
    """Queries with another chip of their class, or of one of their classes, in the database."""
    unanswerable: int
    """Queries with none, left out."""
    database: int
    """Chips in the database."""
    methods: list[Figures]
    """The bundle first, then the baselines."""
    same_class: list[int]
    """Pairs of query and chip that share a class, by distance of the bundle's codes, from 0 on."""
    different_class: list[int]
    """Pairs that don't, likewise."""


class MethodOverview(BaseModel):
    """A method's row of the overview: figures on the test chips, each a query that is left out of its list.

    Ties are averaged over all their orders. In the row of one part alone, the other part doesn't break them.
    A figure is None if there are too few chips, classes or places to measure it.
    """

    model_config = ConfigDict(frozen=True)

    method: str
    bits: int | None
    """Bits that are compared; None: floats."""
    compare: Compare
    """The parts of the code that are compared; both: all there are."""
    trained_map20: float | None
    """Mean average precision over the first 20, among the chips of classes that the bundle was trained on."""
    unseen_map20: float | None
    """The same among the chips of classes that it wasn't trained on; None: there are none."""
    in_class_recall10: float | None
    """Order within the class: of the ten nearest chips of the own class by float cosine, the share among the
    ten nearest of the own class in this list, 0..1. Queries with ten or fewer others of their class are left
    out."""
    kept_recall10: float | None
    """Neighbours of the features kept: of the ten nearest chips by float cosine, the share among the first
    hundred of this list, 0..1. None: there are not more than a hundred other chips."""
    tied10: float | None
    """Ties at the cut: chips at the distance of the tenth, itself included; median over the queries."""
    distinct: float | None
    """Distinct codes over codes, 0..1; None: floats."""
    turned_first: float
    """The turned view found: a chip turned by 90 degrees asks, and this is the chance that the chip as it is
    comes first among all chips, 0..1."""
    turned_first10: float
    """The chance that it is among the first ten, 0..1."""
    place10: float | None
    """The same place at another date: the chance that at least one of the ten nearest has the query's
    footprint at another date, 0..1. None if no `places` were given."""


class ExampleChip(BaseModel):
    """A chip on a contact sheet."""

    model_config = ConfigDict(frozen=True)

    row: int
    """Its row in the labelled chips."""
    uri: str
    window: WindowTuple | None
    """x, y, width, height in pixels of the image; None: all of it."""
    labels: list[str]


class Neighbour(ExampleChip):
    """A chip near a query."""

    distance: float
    """Between the codes, a whole number; between features 1 - cosine similarity."""
    right: bool
    """It shares a class with the query."""


class Example(BaseModel):
    """A query, leave one out in test, and the chips that the bundle's codes put nearest to it."""

    model_config = ConfigDict(frozen=True)

    query: ExampleChip
    average_precision: float
    nearest: list[Neighbour]
    """Nearest first, ties in the order of rows."""


class OrderedList(BaseModel):
    """The chips that one method puts nearest to a query."""

    model_config = ConfigDict(frozen=True)

    method: str
    nearest: list[Neighbour]
    """Nearest first, ties in the order of rows."""


class ChangedOrder(BaseModel):
    """A query whose first ten differ much between two methods, and each method's list."""

    model_config = ConfigDict(frozen=True)

    query: ExampleChip
    shared: float
    """Share of the first ten that both methods have, 0..1, ties averaged."""
    lists: list[OrderedList]


class ChangedOrders(BaseModel):
    """The queries whose first ten differ most between two methods, the most different first."""

    model_config = ConfigDict(frozen=True)

    first: str
    """A method."""
    second: str
    """The method that it is compared with."""
    mean_shared: float
    """Share of the first ten that both have, mean over all test chips."""
    queries: list[ChangedOrder]


class UnreadableChip(BaseModel):
    """A labelled chip that was left out."""

    model_config = ConfigDict(frozen=True)

    uri: str
    reason: str


class EvaluateReport(BaseModel):
    """What an evaluation measured."""

    model_config = ConfigDict(frozen=True)

    model_id: str
    bundle: str
    """URI of the bundle."""
    source: str
    """URI of the labelled scenes."""
    split: SplitConfig
    """How chips without a split of their own were split."""
    chips: dict[str, int]
    """Number of chips in each split, unreadable ones left out."""
    unreadable: list[UnreadableChip]
    """Chips that couldn't be read, left out."""
    classes: int
    multi_label: bool
    """Whether chips have several labels: two chips that share one count as alike."""
    unseen_classes: list[str]
    """Classes that the bundle wasn't trained on."""
    bits: int
    parts: dict[str, int]
    """Bits of each part of the code."""
    weights: dict[str, int]
    """How often a bit of each part counts where all parts are compared."""
    features: int
    """Number of the backbone's pooled features, of which the baselines are made."""
    seed: int
    protocols: list[Protocol]
    knows: list[MethodOverview]
    """The overview: a row for each method, the bundle's first."""
    places: str | None
    """URI of the scenes that `MethodOverview.place10` was measured on."""
    changed: list[ChangedOrders]
    """Where the order changed most: between the parts, if there are two, and between codes and features."""
    best: list[Example]
    """Queries of the highest average precision, two of a class at most."""
    worst: list[Example]
    """Queries of the lowest, likewise."""
    health: dict[str, dict[str, float]]
    """Signs of collapse in each split's codes, see `model.metrics.CodeHealth`. If a code has two parts, each
    part has figures of its own, whose names begin with kind_ and look_."""
    collapsed: list[str]
    """The gate's checks that the test chips' codes fail, with its default thresholds."""
    page: str
    """URI of the HTML report; evaluation.json lies beside it."""
    run_id: str | None = None
    """MLflow run that holds the figures and both files; None: not tracked."""
    seconds: float = 0


class EvaluateSummary(BaseModel):
    """The short form of a report, for a job's standard output; all figures are in evaluation.json."""

    model_config = ConfigDict(frozen=True)

    model_id: str
    page: str
    run_id: str | None
    chips: dict[str, int]
    unreadable: int
    metrics: dict[str, float]
    """The figures that were logged to MLflow."""
    seconds: float
