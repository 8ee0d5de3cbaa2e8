"""Rows of a table as the features of an answer."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from pipelines.api.answers import Asset, Chip, ChipProperties, Match, MatchProperties
from pipelines.geojson import placed, properties, whole


def matches(chips: Sequence[dict[str, Any]], first_rank: int, bits: int) -> list[Match]:
    """Return the chips of a page, ranked from ``first_rank`` on; they have a ``distance``."""
    return [
        Match(
            **place,
            assets=_assets(row),
            properties=MatchProperties(
                **properties(row),
                rank=rank,
                distance=whole(row["distance"]),
                similarity=1 - row["distance"] / bits,
            ),
        )
        for rank, (row, place) in enumerate(zip(chips, placed(chips), strict=True), start=first_rank)
    ]


def chip(row: dict[str, Any], snapshot: int, model_id: str) -> Chip:
    """Return a chip by itself."""
    about, (place,) = ChipProperties(**properties(row)), placed([row])
    return Chip(**place, assets=_assets(row), properties=about, snapshot=snapshot, model_id=model_id)


def _assets(row: dict[str, Any]) -> dict[str, Asset]:
    return {"thumbnail": Asset(href=f"/v1/chips/{quote(str(row['chip_id']), safe='')}/thumbnail")}
