"""What is being served, from what each shard says."""

from collections.abc import Sequence

from pipelines.api.answers import ShardStatus, SnapshotInfo, Status
from pipelines.serve.encoded import EncoderInfo
from pipelines.serve.shard import ShardInfo


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
