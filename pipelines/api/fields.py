"""Which parts of an answer are wanted: `fields`, named as in the Fields extension of STAC API.

Source: https://github.com/stac-api-extensions/fields.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

Format = Literal["features", "columns"]
"""How an answer in JSON is laid out: GeoJSON features, or an array for each property."""

MEMBERS = ("id", "type", "geometry", "bbox", "properties", "assets", "links")
"""Of a feature, beside its properties."""
PROPERTIES = (
    "rank",
    "distance",
    "kind_distance",
    "look_distance",
    "similarity",
    "beyond_chance",
    "before",
    "after",
    "before_datetime",
    "after_datetime",
    "lon",
    "lat",
    "datetime",
    "collection",
    "uri",
    "etag",
    "window",
)
"""Of chips and of pairs of chips. ``lon`` and ``lat`` are in columns only: features have a geometry."""

_NAMES = (*MEMBERS, *PROPERTIES, *(f"properties.{name}" for name in PROPERTIES))


def _known(name: str) -> str:
    """Return the name. Raises ValueError if no answer has such a field."""
    if name not in _NAMES:
        raise ValueError(f"there is no field {name[:100]!r}; see docs/formats/api.md")
    return name


Name = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(_NAMES)})]


class Fields(BaseModel):
    """What an answer should have. A property may be named with or without "properties."."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    include: tuple[Name, ...] | None = None
    """Only these; null or empty: all, or the usual columns"""
    exclude: tuple[Name, ...] | None = None
    """Not these"""

    def wants(self, name: str) -> bool:
        """Return whether the answer should have a member of a feature, or a property without its prefix."""
        return (not self.include or _names(self.include, name)) and not _names(self.exclude or (), name)

    def text(self) -> str:
        """Return the fields in the form of a query parameter: "id,properties,-geometry"."""
        return ",".join([*(self.include or ()), *(f"-{name}" for name in self.exclude or ())])


def _names(names: tuple[str, ...], name: str) -> bool:
    if name in MEMBERS:
        return name in names
    return name in names or f"properties.{name}" in names or "properties" in names


def _parsed(value: object) -> object:
    """Return "id,+properties,-geometry" as `Fields` writes it; anything else as it is."""
    if not isinstance(value, str):
        return value
    names = [name for name in value.replace(" ", "+").split(",") if name]  # a + may arrive as a space
    include = [name.removeprefix("+") for name in names if not name.startswith("-")]
    exclude = [name.removeprefix("-") for name in names if name.startswith("-")]
    return {"include": include or None, "exclude": exclude or None}


FieldsParameter = Annotated[
    Fields | None,
    BeforeValidator(_parsed),
    Field(description="What the answer should have: names, those that it shouldn't have with a minus before"),
    WithJsonSchema({"type": "string"}),
]
"""`Fields` as a query parameter."""
