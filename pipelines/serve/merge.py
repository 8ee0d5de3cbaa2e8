"""What shards say to one answer: the same, however many shards there are."""

import heapq
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

from pipelines.api.answers import ShardStatus, SnapshotInfo, Status
from pipelines.api.geojson import whole
from pipelines.serve.answer_features import matches
from pipelines.serve.cursor import Cursor, write_token
from pipelines.serve.question import EncoderInfo, Found, Question, Source
from pipelines.serve.ranking import Ranking
from pipelines.serve.shard import ShardInfo

Worded = dict[str, Any]
"""A `SearchAnswer`, but for the time taken, which is known last."""


def merged(
    question: Question,
    source: Source,
    parts: Sequence[Found],
    chance_distance: float | None,
    *,
    is_image: bool = False,
) -> Worded:
    """Return the answer of one snapshot; ``is_image``: an image was asked with, the request has its code."""
    ranking = Ranking.of(question.request, source.code)
    chips = _page(question, parts)
    matched, kth_distance, ties = _summary(question, parts)
    returned = question.cursor.returned + len(chips)
    links = [_next(question, source, chips, is_image=is_image)] if chips and returned < matched else []
    return {
        "type": "FeatureCollection",
        "numberMatched": matched,
        "numberReturned": len(chips),
        "features": matches(chips, question.cursor.returned + 1, ranking.greatest_distance, chance_distance),
        "search": {
            "model_id": source.model_id,
            "bits": source.code.bits,
            **ranking.told(question.request.compare),
            "chance_distance": None if chance_distance is None else whole(chance_distance),
            "snapshot": source.version,
            "exact": True,
            "method": "mih" if all(part.method == "mih" for part in parts) else "scan",
            "kth_distance": kth_distance,
            "ties_at_cutoff": ties,
            "codes_compared": sum(part.codes_compared for part in parts),
        },
        "links": links,
    }


def snapshot_info(infos: Sequence[ShardInfo]) -> SnapshotInfo:
    """Return what all shards serve; while they swap, what the last of them does."""
    last = min(infos, key=lambda info: info.published.number)
    kept_by_all = set.intersection(*({version for _, version in info.kept} for info in infos))
    return SnapshotInfo(
        snapshot=last.published.table_version,
        model_id=last.published.model_id,
        bits=last.bits,
        chips=sum(info.chips for info in infos),
        distinct_codes=sum(info.distinct_codes for info in infos),
        run_id=last.published.run_id,
        published_at=last.published.published_at,
        shards=len(infos),
        kept=list(dict.fromkeys(version for _, version in last.kept if version in kept_by_all)),
        refused=next((info.refused for info in infos if info.refused), None),
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


def _page(question: Question, parts: Sequence[Found]) -> list[dict[str, Any]]:
    nearest = heapq.merge(
        *(part.chips for part in parts),
        key=lambda chip: (chip["distance"], chip["tie"], chip["chip_id"]),
    )
    return list(islice(nearest, question.page_size))


def _summary(question: Question, parts: Sequence[Found]) -> tuple[int, int | float | None, int]:
    """Return how many chips all pages have, the distance of the last one, and how many tie with it.

    Those tie that only their chip ids tell apart: at one distance, and one tie of the parts that decide next.
    The last one of k or, without k, of this page: then none is left out, and the next page has what ties.
    """
    rows_at: Counter[tuple[float, float]] = Counter()
    for part in parts:
        rows_at.update(dict(part.distances))
    taken, last, ties = 0, None, 0
    for place, rows in sorted(rows_at.items()):
        if taken == question.reach:
            break
        fresh = min(question.reach - taken, rows)
        taken, last, ties = taken + fresh, place, rows - fresh
    kth_distance = None if last is None else whole(last[0])
    if question.k is None:
        return sum(part.within or 0 for part in parts), kth_distance, 0
    ties += sum(part.ties for part in parts if part.distances and part.distances[-1][0] == last)
    return taken, kth_distance, ties


def _next(
    question: Question, source: Source, chips: Sequence[dict[str, Any]], *, is_image: bool
) -> dict[str, Any]:
    """Return the link to the page after this one; an image needn't be sent again."""
    last = chips[-1]
    returned = question.cursor.returned + len(chips)
    cursor = Cursor(returned, last["distance"], last["tie"], last["chip_id"], source.table_id)
    token = write_token(question.request, source.version, cursor)
    link = {"rel": "next", "method": "POST", "href": "/v1/search"}
    if not is_image:
        return link | {"merge": True, "body": {"token": token}}
    query = question.request.model_dump(mode="json", exclude_unset=True, exclude={"token"})
    return link | {"merge": False, "body": query | {"token": token}}
