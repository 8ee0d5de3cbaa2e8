"""Unit length, and the rotation of iterative quantisation: shared by look bits and baselines.

Shapes: N vectors, K bits.
"""

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 50  # as in the paper of iterative quantisation


def unit_length(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return vectors over their Euclidean length, along the last axis; a vector of zeros stays one."""
    vectors = vectors.astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float64).tiny))


def itq_rotation(outputs_NK: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the rotation_KK that brings outputs near their signs: iterative quantisation.

    Gong & Lazebnik, "Iterative quantization: a procrustean approach to learning binary codes", CVPR 2011.
    From a random rotation R, in turn B = sign(V R), and R = the rotation that minimises |B - V R|. The
    outputs V must have the mean 0.
    """
    bits = outputs_NK.shape[1]
    rotation_KK, _ = np.linalg.qr(rng.standard_normal((bits, bits)))
    for _ in range(_ROUNDS):
        signs_NK = np.where(outputs_NK @ rotation_KK > 0, 1.0, -1.0)
        left_KK, _, right_KK = np.linalg.svd(outputs_NK.T @ signs_NK)
        rotation_KK = left_KK @ right_KK
    return np.asarray(rotation_KK)
