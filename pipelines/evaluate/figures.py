"""What an evaluation says: the figures of evaluation.json, from which the page is drawn."""

from pydantic import BaseModel, ConfigDict

BUNDLE = "this bundle"
COSINE = "cosine, float features"


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
    """``map_all`` over the queries of each class."""
    precision_within_2: float | None
    """Mean precision within Hamming radius 2, 0 for queries with nothing there; None: floats."""
    distinct_ratio: float | None
    """Distinct codes over codes of the database; None: floats."""


class Protocol(BaseModel):
    """Who asks, in which database, and how well each method answers."""

    model_config = ConfigDict(frozen=True)

    name: str
    queries: int
    """Queries with another chip of their class in the database."""
    unanswerable: int
    """Queries with none, left out."""
    database: int
    """Chips in the database."""
    methods: list[Figures]
    """The bundle first, then the baselines."""
    same_class: list[int]
    """Pairs of query and chip of one class by distance of the bundle's codes, 0..bits."""
    different_class: list[int]
    """Pairs of two classes, likewise."""


class EvaluateReport(BaseModel):
    """What an evaluation measured."""

    model_config = ConfigDict(frozen=True)

    model_id: str
    bundle: str
    """URI of the bundle."""
    manifest: str
    """URI of the labelled chips."""
    chips: dict[str, int]
    """Chips in each split."""
    classes: int
    unseen_classes: list[str]
    """Classes that the bundle wasn't trained on."""
    bits: int
    features: int
    """Dimensions of the backbone's pooled features, which the baselines are made of."""
    seed: int
    protocols: list[Protocol]
    health: dict[str, dict[str, float]]
    """Of each split's codes: signs of collapse, see `model.metrics.CodeHealth`."""
    page: str
    """URI of the HTML report; evaluation.json lies beside it."""
    seconds: float
