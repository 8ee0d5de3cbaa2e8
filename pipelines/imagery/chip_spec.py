"""How chips are made of a scene: a grid and pixels, as text in the column ``cut`` of a code table."""

import json
from dataclasses import MISSING, dataclass, fields
from typing import Any

from pipelines.errors import TableError
from pipelines.imagery.grid import Grid
from pipelines.imagery.pixels import PixelSpec


@dataclass(frozen=True)
class ChipSpec:
    """Which windows of a scene are its chips, and how the values in them become pixels."""

    grid: Grid
    pixels: PixelSpec

    def text(self) -> str:
        """Return it as JSON; equal specs give equal text. Fields with their default value are left out."""
        stated = {
            field.name: value
            for part in (self.grid, self.pixels)
            for field in fields(part)
            if (value := getattr(part, field.name)) != field.default or field.default is MISSING
        }
        return json.dumps(stated, separators=(",", ":"), sort_keys=True)

    def changes(self, later: "ChipSpec") -> str:
        """Return in words how a later spec differs, such as ``edges drop, now shift``."""
        return "; ".join(
            f"{field.name} {was}, now {now}"
            for before, after in ((self.grid, later.grid), (self.pixels, later.pixels))
            for field in fields(before)
            if (was := getattr(before, field.name)) != (now := getattr(after, field.name))
        )

    @classmethod
    def read(cls, text: str) -> "ChipSpec":
        """Return the spec that `text` has written. Raises TableError if it isn't such a text."""
        try:
            values: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in json.loads(text).items()
            }
            of_grid = {field.name: values.pop(field.name) for field in fields(Grid) if field.name in values}
            return cls(Grid(**of_grid), PixelSpec(**values))
        except (ValueError, TypeError, AttributeError) as error:
            raise TableError(f"the column cut holds {text!r}, which this version doesn't read") from error
