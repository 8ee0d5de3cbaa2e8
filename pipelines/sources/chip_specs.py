"""The chip specs of an archive: one grid for all of it, pixels by collection."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from model.spec import InputSpec
from pipelines.errors import ConfigError
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.grid import Grid
from pipelines.imagery.pixels import PixelSpec
from pipelines.sources.config import ArchiveConfig, PixelConfig


@dataclass(frozen=True)
class ChipSpecs:
    """The chip spec of each collection. All have the same chip size and number of bands."""

    default: ChipSpec
    by_collection: Mapping[str, ChipSpec] = field(default_factory=dict)
    """Of collections whose pixels the config declares separately."""

    def of(self, collection: str) -> ChipSpec:
        """Return the chip spec of a collection's objects."""
        return self.by_collection.get(collection, self.default)


def chip_specs_of(config: ArchiveConfig, model: InputSpec) -> ChipSpecs:
    """Return the chip specs of an archive. Raises ConfigError if the pixels don't fit the model."""
    stride = None if config.stride == config.chip_size else config.stride
    grid = Grid(config.chip_size, stride, config.resolution, config.edges, config.min_valid_fraction)
    return ChipSpecs(
        ChipSpec(grid, pixel_spec(model, config.pixels)),
        {
            name: ChipSpec(grid, pixel_spec(model, declared, f"collection_pixels.{name}"))
            for name, declared in config.collection_pixels.items()
        },
    )


def pixel_spec(model: InputSpec, declared: PixelConfig, key: str = "pixels") -> PixelSpec:
    """Return how values become the model's pixels; bands and range are the model's unless declared.

    Raises ConfigError, which names the config's ``key``, if they don't fit the model.
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
