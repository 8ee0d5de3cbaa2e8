"""What a reading task makes of objects, a dict a row."""

from pipelines.encode.chips import CHIP, ChipBatch


def chip_rows(batch: ChipBatch) -> list[dict]:
    """Return a batch's rows, each with its chip's bytes as ``pixels``; None for what isn't a chip."""
    rows, chips = batch.rows.to_pylist(), iter(batch.chips_NHWC)
    found = [row | {"pixels": next(chips).tobytes() if row["outcome"] == CHIP else None} for row in rows]
    assert next(chips, None) is None
    return found
