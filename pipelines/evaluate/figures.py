"""What an evaluation says: the figures of evaluation.json, from which the page is drawn."""

from pydantic import BaseModel, ConfigDict

from pipelines.labels import SplitConfig

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
    """Bits a code; None: floats."""
    map_all: float
    """Mean average precision over the whole list."""
    map_at_k: dict[int, float]
    """The same over the first k, divided by min(k, number of relevant chips)."""
    precision_at_k: dict[int, float]
    recall_at_k: dict[int, float]
    map_of_class: dict[str, float]
    """``map_all`` over the queries of each class; a query of several classes counts in each."""
    precision_recall: list[tuple[float, float]]
    """Recall and precision over all pairs within each Hamming radius, or down to each similarity."""
    precision_within_2: float | None
    """Mean precision within Hamming radius 2, 0 for queries with nothing there; None: floats."""
    precision_within: list[float] | None
    """The same within each radius, 0..bits."""
    distinct_ratio: float | None
    """Distinct codes over codes of the database; None: floats."""


class Protocol(BaseModel):
    """Who asks, in which database, and how well each method answers."""

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
    """Pairs of query and chip that share a class, by distance of the bundle's codes, 0..bits."""
    different_class: list[int]
    """Pairs that don't, likewise."""


class ExampleChip(BaseModel):
    """A chip on a contact sheet."""

    model_config = ConfigDict(frozen=True)

    row: int
    """Its place in the labelled chips."""
    uri: str
    window: tuple[int, int, int, int] | None
    """x, y, width, height in pixels of the image; None: all of it."""
    labels: list[str]


class Neighbour(ExampleChip):
    """A chip near a query."""

    distance: int
    """Bits."""
    right: bool
    """It shares a class with the query."""


class Example(BaseModel):
    """A query, leave one out in test, and what the bundle's codes say is nearest to it."""

    model_config = ConfigDict(frozen=True)

    query: ExampleChip
    average_precision: float
    nearest: list[Neighbour]
    """Nearest first, ties in the order of rows."""


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
    """Chips in each split that were read, and count."""
    unreadable: list[UnreadableChip]
    """Chips that couldn't be read, left out."""
    classes: int
    multi_label: bool
    """Chips carry several labels: two that share one are taken to be alike."""
    unseen_classes: list[str]
    """Classes that the bundle wasn't trained on."""
    bits: int
    features: int
    """Dimensions of the backbone's pooled features, which the baselines are made of."""
    seed: int
    protocols: list[Protocol]
    best: list[Example]
    """Queries of the highest average precision, two of a class at most."""
    worst: list[Example]
    """Of the lowest, likewise."""
    health: dict[str, dict[str, float]]
    """Of each split's codes: signs of collapse, see `model.metrics.CodeHealth`."""
    page: str
    """URI of the HTML report; evaluation.json lies beside it."""
    run_id: str | None = None
    """MLflow run that holds the figures and both files; None: not tracked."""
    seconds: float = 0


class EvaluateSummary(BaseModel):
    """The short of it, for a job's standard output; all of it is in evaluation.json."""

    model_config = ConfigDict(frozen=True)

    model_id: str
    page: str
    run_id: str | None
    chips: dict[str, int]
    unreadable: int
    metrics: dict[str, float]
    """What MLflow got."""
    seconds: float
