"""How a scene becomes chips, in a form that every row of a code table carries."""

import json
from dataclasses import MISSING, dataclass, fields
from typing import Any

from pipelines.errors import TableError
from pipelines.imagery.grid import Grid
from pipelines.imagery.pixels import PixelSpec


@dataclass(frozen=True)
class Cut:
    """Which windows of a scene are its chips, and which of its values become their pixels."""

    grid: Grid
    pixels: PixelSpec

    def text(self) -> str:
        """Return it as JSON: equal cuts give equal text. What is as in `Grid` and `PixelSpec` is left out."""
        said = {
            field.name: value
            for part in (self.grid, self.pixels)
            for field in fields(part)
            if (value := getattr(part, field.name)) != field.default or field.default is MISSING
        }
        return json.dumps(said, separators=(",", ":"), sort_keys=True)

    @classmethod
    def read(cls, text: str) -> "Cut":
        """Return what `text` stands for. Raises TableError where it can't be understood."""
        try:
            said = json.loads(text).items()
            values: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in said
            }
            of_grid = {field.name: values.pop(field.name) for field in fields(Grid) if field.name in values}
            return cls(Grid(**of_grid), PixelSpec(**values))
        except (ValueError, TypeError, AttributeError) as error:
            raise TableError(f"the column cut holds {text!r}, which this version doesn't read") from error
