"""Pairs of one place and two dates, against a slow reference that compares each row with each other.

Shapes: N rows, W words a code.
"""

import numpy as np
import pytest

from pipelines.hamming.pairs import PairScale, Places, find_pairs
from pipelines.hamming.row_filter import NO_TIME

WEIGHTS = (3, 1)
GREATEST = 64 * sum(WEIGHTS)
Pair = tuple[int, int, int, int, int]


def made(seed: int) -> Places:
    """Boxes of very different sizes, many of them at the antimeridian and at the southern edge of the map."""
    rng = np.random.default_rng(seed)
    rows = 150
    size_N = rng.choice([0.01, 0.1, 1, 5, 40], rows)
    west_N = rng.choice([-180, -179.99, 179.95, 0, 10], rows) + rng.normal(0, 0.1, rows) * size_N
    west_N = (west_N + 180) % 360 - 180
    south_N = rng.choice([0, 50, -90], rows) + rng.random(rows) * 0.3 * size_N
    east_N = (west_N + size_N + 180) % 360 - 180
    boxes_N4 = np.stack([west_N, south_N, east_N, np.minimum(south_N + size_N, 90)], axis=1)
    boxes_N4[rng.random(rows) < 0.05] = np.nan
    times_N = rng.integers(0, 10, rows)
    times_N[rng.random(rows) < 0.05] = NO_TIME
    codes_WN = rng.integers(0, 2**64, (2, rows), dtype=np.uint64) & rng.integers(
        0, 2**64, (2, rows), dtype=np.uint64
    )
    return Places(
        codes_WN,
        boxes_N4,
        times_N,
        rng.integers(0, 2, rows).astype(np.uint32),
        rng.permutation(rows).astype(np.uint32),
        np.empty(0, np.uint32),
    )


def is_pair(places: Places, a: int, b: int) -> bool:
    times, boxes = places.times_N, places.boxes_N4
    if NO_TIME in (times[a], times[b]) or times[a] >= times[b] or np.isnan([boxes[a, 0], boxes[b, 0]]).any():
        return False
    apart = abs(boxes[a, 0] - boxes[b, 0])
    width, height = (boxes[a, 2] - boxes[a, 0]) % 360, boxes[a, 3] - boxes[a, 1]
    beside = min(apart, 360 - apart) < width / 4 and abs(boxes[a, 1] - boxes[b, 1]) < height / 4
    return bool(beside and places.collections_N[a] == places.collections_N[b])


def oracle(places: Places, rows: list[int], intervals: tuple[tuple[int, int], tuple[int, int]]) -> list[Pair]:
    """All pairs as (minus the distance, rank of the earlier, of the later, earlier, later)."""
    (first, last), (first_after, last_after) = intervals
    return sorted(
        (-distance(places, a, b), int(places.ranks_N[a]), int(places.ranks_N[b]), a, b)
        for a in rows
        if first <= places.times_N[a] <= last
        for b in rows
        if first_after <= places.times_N[b] <= last_after and is_pair(places, a, b)
    )


def distance(places: Places, a: int, b: int) -> int:
    different_W = places.codes_WN[:, a] ^ places.codes_WN[:, b]
    return sum(w * int(word).bit_count() for w, word in zip(WEIGHTS, different_W.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_all_pairs_are_found(seed: int) -> None:
    places, rng = made(seed), np.random.default_rng(seed)
    rows_M = np.sort(rng.choice(150, 130, replace=False))
    intervals = ((0, 100), (0, 100)) if seed % 2 else ((0, 4), (3, 8))
    k, least = int(rng.integers(1, 300)), int(rng.choice([0, 60]))
    found = find_pairs(places, rows_M, intervals, PairScale(np.array(WEIGHTS), GREATEST), k, least)
    wanted = oracle(places, rows_M.tolist(), intervals)
    pairs = list(zip(found.before_K.tolist(), found.after_K.tolist(), strict=True))
    assert pairs == [(a, b) for minus, _, _, a, b in wanted if -minus >= least][:k]
    assert found.distances_K.tolist() == [-minus for minus, *_ in wanted if -minus >= least][:k]
    assert (
        found.counts_D.tolist()
        == np.bincount([-minus for minus, *_ in wanted], minlength=GREATEST + 1).tolist()
    )
    assert len(wanted) > 20


def test_rows_of_one_owner_are_no_pair() -> None:
    places = made(3)
    owners_N = (np.arange(150) % 2).astype(np.uint32)
    every = ((0, 100), (0, 100))
    found = find_pairs(
        places._replace(owners_N=owners_N),
        np.arange(150),
        every,
        PairScale(np.array(WEIGHTS), GREATEST),
        10_000,
    )
    wanted = [pair for pair in oracle(places, list(range(150)), every) if (pair[3] + pair[4]) % 2]
    assert list(zip(found.before_K.tolist(), found.after_K.tolist(), strict=True)) == [p[3:] for p in wanted]


def test_nothing_to_compare() -> None:
    found = find_pairs(
        made(0), np.empty(0, np.int64), ((0, 9), (0, 9)), PairScale(np.array(WEIGHTS), GREATEST), 5
    )
    assert (found.before_K.size, found.counts_D.sum()) == (0, 0)
