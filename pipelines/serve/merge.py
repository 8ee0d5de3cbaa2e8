"""Merges what the shards reply into one answer, which doesn't depend on the number of shards."""

import math
from collections.abc import Sequence
from typing import Any

from pipelines.api.answers import ShardStatus, SnapshotInfo, Status
from pipelines.api.geojson import json_number
from pipelines.serve.answer_dicts import LinkDict, SearchInfoDict
from pipelines.serve.cursor import Cursor, write_token
from pipelines.serve.page import EVERYTHING, Chips, Page, Ranked, merged
from pipelines.serve.question import EncoderInfo, PartialResult, Question, SnapshotId
from pipelines.serve.ranking import Ranking
from pipelines.serve.shard import ShardInfo


def merge_results(
    question: Question,
    snapshot_id: SnapshotId,
    results: Sequence[PartialResult],
    chance_distance: float | None,
    *,
    is_image: bool = False,
) -> Page:
    """Return one page of an answer.

    ``results``: one of each shard, all from the same snapshot. ``is_image``: the client sent an image, and
    the request has the image's code in its place.
    """
    ranking = Ranking.of(question.request, snapshot_id.code)
    chips = _nearest(question, [result.chips for result in results])
    matched, kth_distance, ties = _summary(question, results)
    page_size = len(chips["chip_id"])
    has_more = 0 < page_size < matched - question.cursor.returned
    search: SearchInfoDict = {
        "model_id": snapshot_id.model_id,
        "bits": snapshot_id.code.bits,
        "compare": question.request.compare,
        "parts": ranking.compared_parts(),
        "rank_by": "bits" if ranking.bit_weights is None else "values",
        "chance_distance": None if chance_distance is None else json_number(chance_distance),
        "snapshot": snapshot_id.version,
        "exact": True,
        "method": "mih" if all(result.method == "mih" for result in results) else "scan",
        "kth_distance": kth_distance,
        "ties_at_cutoff": ties,
        "codes_compared": sum(result.codes_compared for result in results),
    }
    links = [_next_link(question, snapshot_id, chips, is_image=is_image)] if has_more else []
    chance = math.inf if chance_distance is None else chance_distance
    return Page(
        chips,
        {"numberMatched": matched, "numberReturned": page_size, "search": search, "links": links},
        question.request.format == "columns",
        question.request.fields or EVERYTHING,
        Ranked(question.cursor.returned + 1, ranking.greatest_distance, chance),
    )


def snapshot_info(infos: Sequence[ShardInfo], *, has_base_map: bool) -> SnapshotInfo:
    """Return what all shards serve. While they swap to a new version, the old one is what all can serve."""
    oldest = min(infos, key=lambda info: info.published.number)
    kept_by_all = set.intersection(*({version for _, version in info.kept} for info in infos))
    return SnapshotInfo(
        snapshot=oldest.published.table_version,
        model_id=oldest.published.model_id,
        bits=oldest.bits,
        chips=sum(info.chips for info in infos),
        distinct_codes=sum(info.distinct_codes for info in infos),
        run_id=oldest.published.run_id,
        published_at=oldest.published.published_at,
        shards=len(infos),
        kept=list(dict.fromkeys(version for _, version in oldest.kept if version in kept_by_all)),
        refused=next((info.refused for info in infos if info.refused), None),
        base_map=has_base_map,
    )


def status_of(infos: Sequence[ShardInfo], encoder: EncoderInfo) -> Status:
    """Return what each shard and the encoder hold."""
    shards = [
        ShardStatus(
            replica=info.replica,
            number=info.published.number,
            snapshot=info.published.table_version,
            chips=info.chips,
            kept=list(dict.fromkeys(version for _, version in info.kept)),
            refused=info.refused,
        )
        for info in infos
    ]
    return Status(shards=shards, encoder_model_id=encoder.model_id, encoder_device=encoder.device)


def _nearest(question: Question, parts: Sequence[Chips]) -> Chips:
    """Return the nearest chips of all shards, as many as the page has."""
    if len(parts) == 1:  # the shard has taken as many already
        return parts[0]
    return merged(parts, ["distance", "tie", "chip_id"], question.page_size)


def _summary(question: Question, results: Sequence[PartialResult]) -> tuple[int, int | float | None, int]:
    """Return how many chips all pages have, the distance of the last chip, and how many others tie with it.

    Two chips tie if only their chip ids order them: they have the same distance and the same ``tie``. With k,
    the last chip is the k-th, and ties are the chips that k left out. Without k, it is the last chip of this
    page, and there are no ties: the next page has them.
    """
    rows_at: dict[tuple[float, float], int] = {}
    for result in results:
        for place, rows in result.distances:
            rows_at[place] = rows_at.get(place, 0) + rows
    taken, last, ties, reach = 0, None, 0, question.reach
    for place, rows in sorted(rows_at.items()):
        if taken == reach:
            break
        added = min(reach - taken, rows)
        taken, last, ties = taken + added, place, rows - added
    kth_distance = None if last is None else json_number(last[0])
    if question.k is None:
        return sum(result.within or 0 for result in results), kth_distance, 0
    ties += sum(result.ties for result in results if result.distances and result.distances[-1][0] == last)
    return taken, kth_distance, ties


def _next_link(question: Question, snapshot_id: SnapshotId, chips: Chips, *, is_image: bool) -> LinkDict:
    """Return the link to the page after this one. An image isn't sent again: the link's body has its code."""
    distance, tie, chip_id = (chips[name][-1] for name in ("distance", "tie", "chip_id"))
    returned = question.cursor.returned + len(chips["chip_id"])
    cursor = Cursor(returned, distance, tie, chip_id, snapshot_id.table_id)
    body: dict[str, Any] = {"token": write_token(question.request, snapshot_id.version, cursor)}
    if is_image:
        body = question.request.model_dump(mode="json", exclude_unset=True, exclude={"token"}) | body
    return {"rel": "next", "method": "POST", "href": "/v1/search", "merge": not is_image, "body": body}
