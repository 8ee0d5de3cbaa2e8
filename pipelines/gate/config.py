"""The gate's thresholds."""

from pydantic import Field

from pipelines.config import StageConfig, Uri


class GateConfig(StageConfig):
    """The thresholds that a new version of the table must meet to be published."""

    min_objects: int = Field(50, ge=1)
    """Codes and means are judged only of so many objects or more, as with fewer chance decides"""
    min_chips: int = Field(1000, ge=1)
    """Codes are judged only of so many chips or more"""
    max_reject_share: float = Field(0.1, ge=0, le=1)
    """Rejected objects over all objects of the archive, at most, with 95 % confidence [0..1]"""
    max_new_reject_share: float = Field(0.5, ge=0, le=1)
    """The same among the objects that are new tonight [0..1]"""
    max_chips_per_object_change: float = Field(0.5, ge=0)
    """Relative change of the mean number of chips an object since the last published version, at most"""
    max_stuck_bits: float = Field(0.25, ge=0, le=1)
    """Share of the bits that are the same in all but one of 1000 chips, at most [0..1]"""
    min_bit_entropy: float = Field(0.2, ge=0, le=1)
    """Mean entropy of a bit, at least; 1 is balanced [0..1]"""
    min_distinct_ratio: float = Field(0.001, ge=0, le=1)
    """Distinct codes over codes, among up to 100 000 of them, at least [0..1]"""
    max_bit_drift: float = Field(0.2, ge=0, le=1)
    """Change of a bit's share of ones since the last published version, mean over bits, at most [0..1]"""
    max_new_bit_drift: float = Field(0.4, ge=0, le=1)
    """The same of the chips encoded since then alone [0..1]"""
    canary: Uri | None = None
    """Labelled chips: URI of a Parquet or CSV file with the columns chip_id, label; empty: none"""
    canary_k: int = Field(10, ge=1)
    """Nearest chips of each of them whose labels are compared"""
    min_canary_precision: float = Field(0.5, ge=0, le=1)
    """Share of these neighbours that have the same label, at least [0..1]"""
