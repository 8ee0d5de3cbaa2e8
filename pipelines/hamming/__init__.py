"""Exact search over packed binary codes: a library of its own, numpy and numba only."""
