"""Turns options into requests about the table as a whole. All raise ConfigError if a value isn't valid."""

from typing import Any, TypeVar

from pydantic import BaseModel

from pipelines.api.explore import (
    ChangesRequest,
    CoverageParameters,
    DatesParameters,
    GridRequest,
    HereParameters,
)
from pipelines.api.filter_flags import checked, filter_values, numbers
from pipelines.client import Client
from pipelines.query.explore_config import (
    ChangesConfig,
    CoverageConfig,
    DatesConfig,
    ExploreConfig,
    GridConfig,
    HereConfig,
)
from pipelines.query.search_request import example_values, read_image

Request = TypeVar("Request", bound=BaseModel)

_SIDES = "west,south,east,north"


def grid_request(client: Client, config: GridConfig) -> GridRequest:
    """Return the request for heat. The service encodes an image. Raises QueryError if it doesn't."""
    view = None if config.view is None else numbers("view", config.view, _SIDES)
    values = filter_values(config) | {"view": view}
    if config.image is None:
        values |= example_values(config)
    else:
        encoded = client.encode(read_image(config.image))
        values |= {"code": encoded.code, "bit_weights": encoded.bit_weights, "model_id": encoded.model_id}
    return _request(GridRequest, config, values)


def changes_request(config: ChangesConfig) -> ChangesRequest:
    """Return the request for pairs of chips of one place and two dates."""
    return _request(ChangesRequest, config, filter_values(config))


def here_parameters(config: HereConfig) -> HereParameters:
    """Return the request for what lies in a place."""
    return _request(HereParameters, config, filter_values(config))


def dates_parameters(config: DatesConfig) -> DatesParameters:
    """Return the request for other dates of a chip's place."""
    return _request(DatesParameters, config, {"collections": config.collection or None})


def coverage_parameters(config: CoverageConfig) -> CoverageParameters:
    """Return the request for how many chips lie where."""
    bbox = None if config.bbox is None else numbers("bbox", config.bbox, _SIDES)
    return _request(CoverageParameters, config, {"bbox": bbox})


def _request(kind: type[Request], config: ExploreConfig, values: dict[str, Any]) -> Request:
    """Return a request of values, and of the options that are named as the request's fields."""
    same = {name: value for name, value in config if name in kind.model_fields}
    return checked(kind, same | values)
