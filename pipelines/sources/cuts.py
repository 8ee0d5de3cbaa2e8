"""How a night cuts its archive: one grid, and pixels by collection."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from model.spec import InputSpec
from pipelines.errors import ConfigError
from pipelines.imagery.cut import Cut
from pipelines.imagery.grid import Grid
from pipelines.imagery.pixels import PixelSpec
from pipelines.sources.config import ArchiveConfig, PixelConfig


@dataclass(frozen=True)
class Cuts:
    """How objects are cut, by their collection. All have chips of one size and as many bands."""

    default: Cut
    by_collection: Mapping[str, Cut] = field(default_factory=dict)
    """Of collections that are declared on their own."""

    def of(self, collection: str) -> Cut:
        """Return how the objects of a collection are cut."""
        return self.by_collection.get(collection, self.default)


def cuts_of(config: ArchiveConfig, model: InputSpec) -> Cuts:
    """Return how a night cuts its archive. Raises ConfigError where the pixels don't fit the model."""
    stride = None if config.stride == config.chip_size else config.stride
    grid = Grid(config.chip_size, stride, config.resolution, config.edges, config.min_valid_fraction)
    return Cuts(
        Cut(grid, pixel_spec(model, config.pixels)),
        {
            name: Cut(grid, pixel_spec(model, declared, f"collection_pixels.{name}"))
            for name, declared in config.collection_pixels.items()
        },
    )


def pixel_spec(model: InputSpec, declared: PixelConfig, key: str = "pixels") -> PixelSpec:
    """Return how values become the model's pixels; what isn't declared is the model's.

    Raises ConfigError, naming the config's ``key``, where they don't fit.
    """
    bands = declared.bands or model.bands
    low, high = (declared.low, declared.high) if declared.low else (model.low, model.high)
    if declared.percentiles:
        low, high = (), ()
    for name, given in (("bands", bands), ("low and high", low)):
        if given and len(given) != len(model.bands):
            raise ConfigError(
                f"{key}: {name} must have {len(model.bands)} entries, one for each band of the model "
                f"({', '.join(map(str, model.bands))} in training), not {len(given)}"
            )
    return PixelSpec(bands, low, high, declared.percentiles, declared.nodata, declared.mask)
