"""The gate before publishing: is the new version of the table fit to be served?"""

import numpy as np
import pyarrow as pa

from model.metrics import code_health
from pipelines.errors import GateError

_SAMPLE = 100_000  # codes whose health is measured


def check_gate(
    codes: pa.ChunkedArray, num_objects: int, num_rejects: int, max_reject_share: float
) -> dict[str, float]:
    """Return the gate's figures. Raises GateError naming the first check that fails and by how much."""
    if not len(codes):
        raise GateError("not published: the table holds no chips of this model")
    share = num_rejects / num_objects
    if share > max_reject_share:
        raise GateError(
            f"not published: {num_rejects} of {num_objects} objects rejected ({share:.3f}), "
            f"max_reject_share is {max_reject_share}; see the rejects table for the reasons"
        )
    sample = codes.take(np.linspace(0, len(codes) - 1, min(len(codes), _SAMPLE)).astype(np.int64))
    codes_NY = np.frombuffer(b"".join(sample.to_pylist()), np.uint8).reshape(len(sample), -1)
    health = code_health(codes_NY)
    return {
        "chips": len(codes),
        "reject_share": share,
        "distinct_ratio": health.distinct_ratio,
        "worst_bit_on": health.worst_bit_on,
        "bit_entropy": health.bit_entropy,
    }
