"""What a learned code has to beat: codes made without labels, and cosine similarity of the float features.

All of them take the features at unit length, as cosine similarity does.

Shapes: N vectors, F feature dimensions, K bits, Y bytes a code, Q queries, B vectors at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.codes import Codes, pack
from model.quantise import itq_rotation, unit_length
from model.retrieval import (
    CUTOFFS,
    Labels,
    Retrieval,
    check_labels,
    relevant_rows,
    score_lists,
    summarise,
)

Features = NDArray[np.floating]

_ROWS = 1 << 14  # vectors encoded at a time
_PAIRS = 1 << 22  # similarities held at a time
_DECIMALS = 6  # of a similarity: further ones are rounding errors of float32
_BINS = 2000  # of similarities 1..-1; many, as trained features fill a small part of the range


@dataclass(frozen=True)
class SignCodes:
    """A code of signs: bit k is on where ``(features / |features| - mean) @ projection`` is above 0."""

    mean_F: NDArray[np.float64]
    projection_FK: NDArray[np.float64] | None
    """None: each feature is a bit."""

    @property
    def num_bits(self) -> int:
        """Number of bits, before a code is filled up to whole bytes."""
        return len(self.mean_F) if self.projection_FK is None else int(self.projection_FK.shape[1])

    def encode(self, features_NF: Features) -> Codes:
        """Return packed codes_NY; the bits that fill up the last byte are off."""
        codes_NY = np.empty((len(features_NF), -(-self.num_bits // 8)), np.uint8)
        for start in range(0, len(features_NF), _ROWS):
            outputs_BK = unit_length(features_NF[start : start + _ROWS]) - self.mean_F
            if self.projection_FK is not None:
                outputs_BK = outputs_BK @ self.projection_FK
            bits_BK = np.pad(outputs_BK > 0, ((0, 0), (0, -outputs_BK.shape[1] % 8)))
            codes_NY[start : start + _ROWS] = pack(bits_BK)
        return codes_NY


def unit_length_32(features_NF: Features) -> NDArray[np.float32]:
    """Return the features at unit length in single precision, with only one copy in memory."""
    vectors_NF = features_NF.astype(np.float32)
    for start in range(0, len(vectors_NF), _ROWS):
        vectors_NF[start : start + _ROWS] = unit_length(vectors_NF[start : start + _ROWS])
    return vectors_NF


def fit_sign(features_NF: Features) -> SignCodes:
    """Fit the code that has a bit for each feature: on where the feature is above its mean.

    The threshold isn't 0, as pooled features are rarely below it.
    """
    return SignCodes(unit_length(features_NF).mean(axis=0), None)


def fit_pca(features_NF: Features, num_bits: int) -> SignCodes:
    """Fit the signs of the first ``num_bits`` principal components.

    Raises ValueError if there are fewer feature dimensions than bits.
    """
    if num_bits > features_NF.shape[1]:
        raise ValueError(f"{features_NF.shape[1]} feature dimensions have no {num_bits} principal components")
    vectors_NF = unit_length(features_NF)
    mean_F = vectors_NF.mean(axis=0)
    centred_NF = vectors_NF - mean_F
    _, components_FF = np.linalg.eigh(centred_NF.T @ centred_NF)  # ascending
    return SignCodes(mean_F, np.ascontiguousarray(components_FF[:, ::-1][:, :num_bits]))


def fit_itq(features_NF: Features, num_bits: int, seed: int) -> SignCodes:
    """Fit iterative quantisation: PCA, rotated so that the components lie near their signs (`itq_rotation`).

    Raises ValueError if there are fewer feature dimensions than bits.
    """
    pca = fit_pca(features_NF, num_bits)
    components_FK = pca.projection_FK
    assert components_FK is not None  # noqa: S101 - for mypy: PCA always projects
    outputs_NK = (unit_length(features_NF) - pca.mean_F) @ components_FK
    rotation_KK = itq_rotation(outputs_NK, np.random.default_rng(seed))
    return SignCodes(pca.mean_F, components_FK @ rotation_KK)


def retrieve_by_cosine(
    queries_QF: Features,
    query_labels_Q: Labels,
    features_NF: Features,
    labels_N: Labels,
    own_rows_Q: NDArray[np.integer] | None = None,
    cutoffs: Sequence[int] = CUTOFFS,
) -> Retrieval:
    """Measure the lists of features_NF by cosine similarity, highest first, as `retrieve` does for codes.

    Similarities that agree to six decimals are tied. Pairs are counted in 2000 equal bins of similarities
    1..-1. Raises ValueError if the kinds of labels differ or no query has a relevant vector.
    """
    check_labels(query_labels_Q, labels_N)
    queries_QF, vectors_FN = unit_length_32(queries_QF), unit_length_32(features_NF).T
    block = max(1, _PAIRS // max(1, vectors_FN.shape[1]))
    scores = [np.empty((0, 1 + 3 * len(cutoffs)))]
    same_D, total_D = np.zeros(_BINS, np.int64), np.zeros(_BINS, np.int64)
    for start in range(0, len(queries_QF), block):
        similarities_BN = queries_QF[start : start + block] @ vectors_FN
        for query, similarities_N in enumerate(similarities_BN, start):
            relevant_N = relevant_rows(labels_N, query_labels_Q[query])
            if own_rows_Q is not None:
                similarities_N = np.delete(similarities_N, own_rows_Q[query])
                relevant_N = np.delete(relevant_N, own_rows_Q[query])
            _, group_N = np.unique(-np.round(similarities_N, _DECIMALS), return_inverse=True)
            total_1D = np.bincount(group_N)[None]
            relevant_1D = np.bincount(group_N[relevant_N], minlength=total_1D.shape[1])[None]
            scores.append(score_lists(relevant_1D, total_1D, cutoffs))
            bins_N = np.clip((1 - similarities_N) / 2 * _BINS, 0, _BINS - 1).astype(np.int64)
            total_D += np.bincount(bins_N, minlength=_BINS)
            same_D += np.bincount(bins_N[relevant_N], minlength=_BINS)
    ranking = summarise(np.concatenate(scores), query_labels_Q, cutoffs)
    return Retrieval(ranking, same_D, total_D - same_D, precision_within_D=None)
