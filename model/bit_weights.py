"""How much each bit of a picture's code counts in its ranking: a small whole number, from the real output.

The outputs of an uploaded picture are real numbers, while the table's codes hold only signs. A bit whose
output is near 0 is uncertain, so it should count little if it differs.

Shapes: B pictures, K bits.
"""

import numpy as np
from numpy.typing import NDArray

from model.spec import CodeSpec

MAX_BIT_WEIGHT = 15
_MEAN_BIT_WEIGHT = 8


def bit_weights(outputs_BK: NDArray[np.floating], code: CodeSpec) -> NDArray[np.uint8]:
    """Return weights_BK: how much each bit of each picture counts if it differs, 0..15.

    The distance of a code is the sum of the weights of the bits in which it differs from the picture's code.
    A weight is ``8 |v| / mean |v|`` of the output v, rounded, at most 15. The mean is taken over the
    picture's outputs of the same part, so that each part as a whole counts as much as in the plain distance.
    The part's own weight isn't included.
    """
    weights_BK = np.empty(outputs_BK.shape, np.uint8)
    start = 0
    for part in code.parts:
        bits = slice(start, start + part.bits)
        size_BK = np.abs(outputs_BK[:, bits].astype(np.float64))
        mean_B1 = np.maximum(size_BK.mean(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        weights_BK[:, bits] = np.minimum(np.rint(_MEAN_BIT_WEIGHT * size_BK / mean_B1), MAX_BIT_WEIGHT)
        start += part.bits
    return weights_BK
