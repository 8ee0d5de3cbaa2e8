"""The error margin of a share: how small the true share may be when few objects were counted.

The bound is the one-sided one of Clopper and Pearson, "The use of confidence or fiducial limits illustrated
in the case of the binomial", Biometrika 26 (1934): the share p at which so many hits or more come with a
probability of 5 %,

    sum over k = hits .. of:  C(of, k) p^k (1 - p)^(of - k)  =  0.05

docs/formats/code-table.md has a table of examples.
"""

import math

CONFIDENCE = 0.95
_STEPS = 50  # halvings: the bound is exact to 2^-50


def lower_bound(hits: int, of: int) -> float:
    """Return the least share, 0..1, that ``hits`` hits among ``of`` objects leave likely; 0 without hits."""
    low, high = 0.0, hits / of
    for _ in range(_STEPS if hits else 0):
        middle = (low + high) / 2
        if _so_many(hits, of, middle) < 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return low


def _so_many(hits: int, of: int, share: float) -> float:
    """Return the probability of ``hits`` hits or more among ``of``; ``share`` is below hits / of."""
    odds = share / (1 - share)
    ways = math.lgamma(of + 1) - math.lgamma(hits + 1) - math.lgamma(of - hits + 1)
    term = total = math.exp(ways + hits * math.log(share) + (of - hits) * math.log1p(-share))
    for k in range(hits, of):  # beyond the mean each term is smaller than the one before
        term *= (of - k) / (k + 1) * odds
        total += term
        if term <= total * 1e-12:
            break
    return total
