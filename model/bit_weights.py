"""The real values of a picture's outputs as small whole numbers, to rank by.

A picture that is uploaded has real outputs, where the codes of the table have only their signs. An output
near 0 says little of its bit, so such a bit should count for little where it differs.

Shapes: B pictures, K bits.
"""

import numpy as np
from numpy.typing import NDArray

from model.spec import CodeSpec

MAX_BIT_WEIGHT = 15
_MEAN_BIT_WEIGHT = 8


def bit_weights(outputs_BK: NDArray[np.floating], code: CodeSpec) -> NDArray[np.uint8]:
    """Return how much each bit of each picture counts where it differs, 0..15.

    The distance of a code is the sum of the weights of the bits in which it differs from the picture's. A
    weight is ``8 |v| / mean |v|``, rounded, at most 15. The mean is that of the picture's own part of the
    code, so that a part as a whole counts as much as in the plain distance; its own weight isn't in here.
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
