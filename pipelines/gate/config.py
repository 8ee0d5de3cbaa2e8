"""The gate's thresholds."""

from pydantic import Field

from pipelines.config import StageConfig


class GateConfig(StageConfig):
    """What a new version of the table must be like to be published."""

    min_objects: int = Field(50, ge=1)
    """Shares and means are judged from so many objects on: fewer go wrong by chance"""
    min_chips: int = Field(1000, ge=1)
    """Codes are judged from so many chips on"""
    max_reject_share: float = Field(0.1, ge=0, le=1)
    """Rejected objects over all objects of the archive, at most [0..1]"""
    max_new_reject_share: float = Field(0.5, ge=0, le=1)
    """The same among the objects that are new tonight [0..1]"""
    max_chips_per_object_change: float = Field(0.5, ge=0)
    """Change of the mean chips an object since the last published version, over what it was, at most"""
    max_stuck_bits: float = Field(0.25, ge=0, le=1)
    """Share of the bits that all but one in 1000 chips have alike, at most [0..1]"""
    min_bit_entropy: float = Field(0.2, ge=0, le=1)
    """Mean entropy of a bit, at least; 1 is balanced [0..1]"""
    min_distinct_ratio: float = Field(0.001, ge=0, le=1)
    """Distinct codes over codes, among up to 100 000 of them, at least [0..1]"""
    max_bit_drift: float = Field(0.2, ge=0, le=1)
    """Change of a bit's share of ones since the last published version, mean over bits, at most [0..1]"""
    max_new_bit_drift: float = Field(0.4, ge=0, le=1)
    """The same of the chips encoded since then alone [0..1]"""
    canary: str | None = None
    """Labelled chips: URI of a Parquet or CSV file with the columns chip_id, label; empty: none"""
    canary_k: int = Field(10, ge=1)
    """Neighbours of each of them that are looked at"""
    min_canary_precision: float = Field(0.5, ge=0, le=1)
    """Share of these neighbours that have the same label, at least [0..1]"""
