"""Asks a query service about the table as a whole: heat, changes, what lies where."""

from typing import TypeAlias

from pipelines.api.explore_answers import (
    ChangesAnswer,
    ChipsAnswer,
    CollectionsAnswer,
    CoverageAnswer,
    GridAnswer,
)
from pipelines.api.fields import Fields
from pipelines.client import Client
from pipelines.query.explore_config import (
    ChangesConfig,
    CollectionsConfig,
    CoverageConfig,
    DatesConfig,
    ExploreConfig,
    GridConfig,
    HereConfig,
)
from pipelines.query.explore_request import (
    changes_request,
    coverage_parameters,
    dates_parameters,
    grid_request,
    here_parameters,
)
from pipelines.query.export import CHIP_COLUMNS, export
from pipelines.query.service import connected

ExploreAnswer: TypeAlias = GridAnswer | ChangesAnswer | ChipsAnswer | CoverageAnswer | CollectionsAnswer


def explore(config: ExploreConfig) -> ExploreAnswer:
    """Ask the service, write the export that is wanted, and return the answer.

    Raises QueryError if the service gives no answer, ConfigError if the request isn't valid or the export
    can't be written.
    """
    with connected(config) as client:
        match config:
            case GridConfig():
                return client.grid(grid_request(client, config))
            case ChangesConfig():
                return client.changes(changes_request(config))
            case HereConfig():
                return _here(client, config)
            case DatesConfig():
                return client.dates(config.chip_id, dates_parameters(config))
            case CoverageConfig():
                return client.coverage(coverage_parameters(config))
            case CollectionsConfig():
                return client.collections(config.snapshot)


def _here(client: Client, config: HereConfig) -> ChipsAnswer:
    place = here_parameters(config)
    page = client.chips(place)
    features, took_ms = list(page.features), page.took_ms
    place = place.model_copy(update={"snapshot": page.snapshot})
    while config.all and page.links:
        page = client.chips(place.model_copy(update={"after": features[-1].id}))
        features += page.features
        took_ms += page.took_ms
    if config.export is not None:
        fields = Fields(include=CHIP_COLUMNS)
        export(client.table(place.model_copy(update={"fields": fields})), config.export)
    cost = {"took_ms": round(took_ms, 3)}
    return page.model_copy(update={"features": features, "numberReturned": len(features)} | cost)
