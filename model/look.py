"""The look bits: what the pixels look like, from a backbone's features and without any label.

All matrices are computed from features of some thousand chips in two or more views each; there is no training
by gradients. Directions in which the views of a chip differ say nothing of what the chip shows. Directions in
which a chip differs from its nearest neighbours say little. Both are made short (whitened) before the bits
are chosen: docs/decisions/0014.

Shapes: N chips, V views of each, B vectors, D features, K bits, X differences.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from model.quantise import itq_rotation, unit_length

Floats = NDArray[np.float64]

_MOST_CHIPS = 20_000  # to fit on: more make the fit slower, not better
_MOST_ASKED = 5_000  # of these, whose nearest chips are searched
_ASKED_AT_ONCE = 500
_NEAREST = 3  # chips whose differences from a chip count like those of its views


class LookHead(nn.Module):
    """features_BD -> outputs_BK, by matrices that `fit` computes.

    Features at unit length less their mean are whitened and brought to unit length again. Then they are
    projected so that each output has the standard deviation 1 over the chips of `fit`.
    """

    mean_D: Tensor
    whitening_DD: Tensor
    whitened_mean_D: Tensor
    projection_DK: Tensor

    def __init__(self, features: int, bits: int) -> None:
        """Start from random hyperplanes. Raises ValueError with more bits than features."""
        super().__init__()
        if bits > features:
            raise ValueError(
                f"{features} features give at most {features} look bits, not {bits}; lower network.look_bits"
            )
        self.register_buffer("mean_D", torch.zeros(features))
        self.register_buffer("whitening_DD", torch.eye(features))
        self.register_buffer("whitened_mean_D", torch.zeros(features))
        self.register_buffer("projection_DK", torch.randn(features, bits))

    def forward(self, features_BD: Tensor) -> Tensor:
        """Return outputs_BK, whose signs are the bits."""
        whitened_BD = F.normalize((F.normalize(features_BD) - self.mean_D) @ self.whitening_DD)
        outputs_BK: Tensor = (whitened_BD - self.whitened_mean_D) @ self.projection_DK
        return outputs_BK

    def fit(self, features_NVD: NDArray[np.float32], seed: int) -> None:
        """Set the matrices from features of chips in two or more views; the same input gives the same bits.

        Raises ValueError with a single view or a single chip.
        """
        num_chips, num_views, _ = features_NVD.shape
        if min(num_chips, num_views) < 2:
            raise ValueError(f"look bits need two views of two chips, not {num_views} of {num_chips}")
        rng = np.random.default_rng(seed)
        if num_chips > _MOST_CHIPS:
            features_NVD = features_NVD[np.sort(rng.choice(num_chips, _MOST_CHIPS, replace=False))]
        units_NVD = unit_length(features_NVD)
        mean_D = units_NVD.mean(axis=(0, 1))
        whitening_DD = whitening(units_NVD)
        whitened_ND = unit_length((units_NVD[:, 0] - mean_D) @ whitening_DD)
        whitened_mean_D = whitened_ND.mean(axis=0)
        projection_DK = quantising_projection(whitened_ND - whitened_mean_D, self.projection_DK.shape[1], rng)
        buffers = {
            "mean_D": mean_D,
            "whitening_DD": whitening_DD,
            "whitened_mean_D": whitened_mean_D,
            "projection_DK": projection_DK,
        }
        for name, value in buffers.items():
            getattr(self, name).copy_(torch.from_numpy(value))


def whitening(units_NVD: Floats) -> Floats:
    """Return the symmetric matrix_DD that shortens the directions in which chips that look alike differ.

    It is (A / tr A + B / tr B + m I)^(-1/2), where m is the mean eigenvalue of the sum of the first two. A is
    the covariance of a chip's views around their mean. B is the covariance of the differences between a chip
    and the chips nearest to it, which are searched after whitening by A alone.
    """
    of_views_DD = view_covariance(units_NVD)
    first_ND = units_NVD[:, 0]
    near_X2 = nearest_pairs(unit_length((first_ND - units_NVD.mean(axis=(0, 1))) @ inverse_root(of_views_DD)))
    differences_XD = first_ND[near_X2[:, 0]] - first_ND[near_X2[:, 1]]
    of_nearest_DD = differences_XD.T @ differences_XD / (2 * len(differences_XD))
    return inverse_root(_of_trace_one(of_views_DD) + _of_trace_one(of_nearest_DD))


def view_covariance(units_NVD: Floats) -> Floats:
    """Return covariance_DD of a chip's views around their mean, pooled over all chips."""
    num_chips, num_views, num_features = units_NVD.shape
    offsets_XD = (units_NVD - units_NVD.mean(axis=1, keepdims=True)).reshape(-1, num_features)
    return np.asarray(offsets_XD.T @ offsets_XD / (num_chips * (num_views - 1)))


def nearest_pairs(units_ND: Floats) -> NDArray[np.int64]:
    """Return pairs_X2 of rows: a chip, and each of the three other chips that are nearest by cosine.

    Of more than 5000 chips only 5000, evenly spread, are first in a pair; their nearest are searched among
    all.
    """
    num_chips = len(units_ND)
    nearest = min(_NEAREST, num_chips - 1)
    asked = np.unique(np.linspace(0, num_chips - 1, min(num_chips, _MOST_ASKED)).astype(np.int64))
    vectors_ND = units_ND.astype(np.float32)
    pairs = []
    for rows_B in np.split(asked, range(_ASKED_AT_ONCE, len(asked), _ASKED_AT_ONCE)):
        cosines_BN = vectors_ND[rows_B] @ vectors_ND.T
        cosines_BN[np.arange(len(rows_B)), rows_B] = -np.inf  # itself
        near_BX = np.argpartition(-cosines_BN, nearest - 1, axis=1)[:, :nearest]
        pairs.append(np.stack([rows_B.repeat(nearest), near_BX.ravel()], axis=1))
    return np.concatenate(pairs)


def inverse_root(covariance_DD: Floats) -> Floats:
    """Return the symmetric matrix_DD (C + m I)^(-1/2) of a covariance C; m is its mean eigenvalue."""
    values_D, vectors_DD = np.linalg.eigh(covariance_DD)
    values_D = np.maximum(values_D, 0) + max(values_D.mean(), np.finfo(np.float32).tiny)
    return np.asarray(vectors_DD / np.sqrt(values_D) @ vectors_DD.T)


def _of_trace_one(covariance_DD: Floats) -> Floats:
    return np.asarray(covariance_DD / max(np.trace(covariance_DD), np.finfo(np.float32).tiny))


def quantising_projection(centred_ND: Floats, bits: int, rng: np.random.Generator) -> Floats:
    """Return projection_DK: the first principal components, rotated so that they lie near their signs.

    The rotation is that of iterative quantisation (`itq_rotation`). Each output has the standard deviation 1
    over the vectors.
    """
    _, components_DD = np.linalg.eigh(centred_ND.T @ centred_ND)  # ascending
    components_DK = components_DD[:, ::-1][:, :bits]
    # an eigenvector may have either sign: the one with a positive largest entry, on every machine
    components_DK = components_DK * np.sign(
        components_DK[np.abs(components_DK).argmax(axis=0), np.arange(bits)]
    )
    projection_DK = components_DK @ itq_rotation(centred_ND @ components_DK, rng)
    deviations_K = (centred_ND @ projection_DK).std(axis=0)
    return np.asarray(projection_DK / np.maximum(deviations_K, np.finfo(np.float32).tiny))
