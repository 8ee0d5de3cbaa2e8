"""What the soak counts by: each count sees what it is there for. Without servers.

Shapes: N chips, Y bytes a code.
"""

import json
import time

import httpx
import numpy as np
import pytest

from benchmarks.soak.clients import ended_as
from benchmarks.soak.ledger import LOST_SECONDS, Ledger
from benchmarks.soak.leftovers import local_left
from benchmarks.soak.memory import slopes
from benchmarks.soak.oracle import Version, expected, fault_of, weights_of
from benchmarks.soak.rows import lost_and_doubled
from benchmarks.soak.watches import WatchedVersions, lost_doubled_wrong
from model.spec import CodePart, CodeSpec

IDS = ["a", "b", "c", "d"]


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "soak.jsonl")


@pytest.fixture
def version():
    """Distances from a: b 1, c 1 and d 3 bits, of which one is a kind bit that counts threefold."""
    codes_NY = np.array([[0, 0], [0, 1], [0, 2], [1, 6]], np.uint8)
    weights_K = weights_of(CodeSpec((CodePart("kind", 8, 3), CodePart("look", 8))))
    return Version(IDS, [f"etag of {chip}" for chip in IDS], codes_NY, weights_K)


def answer(version, pairs, matched=None, ties=0, links=()):
    features = [
        {"id": chip, "properties": {"distance": distance, "etag": f"etag of {chip}"}}
        for distance, chip in pairs
    ]
    found = len(pairs) if matched is None else matched
    return {
        "features": features,
        "numberMatched": found,
        "search": {"ties_at_cutoff": ties},
        "links": list(links),
    }


def test_the_oracle_ranks_by_weighted_bits_and_ties_by_id(version):
    assert expected(version, {"chip_ids": ["a"]}).near == [(1, "b"), (1, "c"), (5, "d")]
    assert expected(version, {"code": "0106", "k": 2}).near == [(0, "d"), (4, "c")]
    assert expected(version, {"chip_ids": ["a"], "max_distance": 1}).near == [(1, "b"), (1, "c")]
    nearest = expected(version, {"chip_ids": ["a"], "k": 1})
    assert (nearest.near, nearest.ties) == ([(1, "b")], 1)
    assert expected(version, {"chip_ids": ["gone"]}) is None


def test_an_answer_that_differs_is_a_fault(version):
    right = expected(version, {"chip_ids": ["a"], "k": 3})
    assert fault_of(answer(version, right.near), right, version, 0, 10) is None
    swapped = [right.near[1], right.near[0], right.near[2]]
    assert "place 0" in fault_of(answer(version, swapped), right, version, 0, 10)
    farther = [*right.near[:2], (6, "d")]
    assert "place 2" in fault_of(answer(version, farther), right, version, 0, 10)
    assert "2 chips" in fault_of(answer(version, right.near[:2], 3), right, version, 0, 10)
    assert "numberMatched" in fault_of(answer(version, right.near, 4), right, version, 0, 10)
    assert "ties" in fault_of(answer(version, right.near, ties=1), right, version, 0, 10)
    of_another = answer(version, right.near)
    of_another["features"][0]["properties"]["etag"] = "another"
    assert "etag" in fault_of(of_another, right, version, 0, 10)


def test_a_page_is_a_part_of_the_answer_and_leads_on_until_the_last(version):
    right = expected(version, {"chip_ids": ["a"], "k": 3})
    first = answer(version, right.near[:2], 3, links=["next"])
    assert fault_of(first, right, version, 0, 2) is None
    assert fault_of(answer(version, right.near[2:], 3), right, version, 2, 2) is None
    assert "links" in fault_of(answer(version, right.near[:2], 3), right, version, 0, 2)
    assert fault_of(first, right, version, 2, 2) is not None


def test_rows_are_lost_doubled_or_of_something_else():
    window = (0, 0, 16, 16)
    wanted = [("a", "1", window), ("b", "1", window)]
    assert lost_and_doubled(wanted, wanted) == ([], [])
    assert lost_and_doubled(wanted[:1], wanted) == ([wanted[1]], [])
    assert lost_and_doubled([*wanted, wanted[0]], wanted) == ([], [wanted[0]])
    old = ("a", "0", window)
    assert lost_and_doubled([*wanted, old], wanted) == ([], [old])


def test_a_hit_is_near_and_in_no_version_before(version):
    watch = WatchedVersions("near", "a", 4, 1, seen={("b", "etag of b")})
    watch.look(version)
    assert watch.hits == [("c", "etag of c", 1)]
    watch.look(version)
    assert len(watch.hits) == 1
    changed = Version(IDS, ["etag of a", "new", "etag of c", "new"], version.codes_NY, version.weights_K)
    watch.look(changed)
    assert watch.hits[1:] == [("b", "new", 1)]


def test_hits_are_lost_doubled_or_wrong():
    one, two, other = ("a", "1", 1.0), ("b", "1", 2.0), ("b", "1", 3.0)
    assert lost_doubled_wrong([one, two], [one, two]) == ([], [], [])
    assert lost_doubled_wrong([one, one], [one, two]) == ([two], [one], [])
    assert lost_doubled_wrong([one, other], [one, two]) == ([two], [], [other])


def test_a_harm_is_counted_and_kept(ledger):
    assert ledger.is_clean()
    ledger.ended("answered")
    ledger.harm("lost_rows", 3, night=7)
    ledger.died("shard")
    figures = ledger.summary(2, 0.1)
    assert (figures["requests"], figures["deaths"], figures["lost_rows"]) == (1, 1, 3)
    assert not ledger.is_clean()
    lines = [json.loads(line) for line in ledger.path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["lost_rows", "death"]
    assert lines[0]["night"] == 7
    with pytest.raises(ValueError, match="none of"):
        ledger.harm("a typing mistake")


@pytest.mark.parametrize(("kind", "explains", "for_good"), [("proxy", True, True), ("node", True, False)])
def test_a_death_explains_a_lost_answer_for_a_while(ledger, kind, explains, for_good):
    now = time.monotonic()
    assert not ledger.explains_loss(now, now + 1)
    ledger.died(kind)
    now = time.monotonic()
    assert ledger.explains_loss(now - 1, now) == explains
    assert ledger.explains_loss(now - 1, now, for_good=True) == for_good
    late = now + LOST_SECONDS[kind] + 0.1
    assert not ledger.explains_loss(late, late + 1)
    assert not ledger.explains_loss(now - 9, now - 5), "it was lost before"


def test_the_store_s_death_explains_no_lost_answer(ledger):
    ledger.died("store")
    now = time.monotonic()
    assert not ledger.explains_loss(now - 1, now)


@pytest.mark.parametrize(
    ("status", "headers", "content", "ended"),
    [
        (200, {}, b"", "answered"),
        (503, {"Retry-After": "1"}, b"", "busy"),
        (429, {"Retry-After": "1"}, b"", "busy"),
        (503, {}, b"<html>", "lost"),
        (502, {}, b"", "lost"),
        (404, {}, b"Path '/v1/search' not found. Ping http://.../-/routes for available routes.", "lost"),
        (500, {}, b'{"code": "internal", "message": "", "hint": ""}', "refused"),
        (429, {}, b"", "refused"),
        (404, {}, b'{"code": "no_such_chip", "message": "", "hint": ""}', "refused"),
    ],
)
def test_how_a_request_ended(status, headers, content, ended):
    assert ended_as(httpx.Response(status, headers=headers, content=content)) == ended
    assert ended_as(httpx.ReadError("lost")) == "lost"


def test_memory_s_slope_is_that_of_the_second_half_of_those_that_live_long():
    def grows(pid, began, first, last, mb_a_minute):
        samples = [(float(at), 300 + mb_a_minute * at / 60) for at in range(first, last, 3)]
        return {(pid, float(began)): samples}

    samples = grows(1, -100, 0, 600, 2.0) | grows(2, 500, 500, 600, 50.0) | grows(3, 200, 200, 600, -1.0)
    samples[1, -100.0] = [(at, mb if at >= 300 else 9 * at) for at, mb in samples[1, -100.0]]
    found = slopes(samples)
    assert {key[0]: round(slope, 6) for key, slope in found.items()} == {1: 2.0, 3: -1.0}
    assert slopes({}) == {}


def test_what_is_left_of_indices_and_pictures(tmp_path):
    (tmp_path / "index").mkdir()
    for name in (".index.lock", ".kernels.lock"):
        (tmp_path / name).touch()
    (tmp_path / "pictures" / "ab").mkdir(parents=True)
    (tmp_path / "pictures" / "ab" / "cd").touch()
    assert local_left(tmp_path) == []
    (tmp_path / ".gone.lock").touch()
    (tmp_path / ".index.1234").mkdir()
    (tmp_path / "pictures" / "ab" / "ef.tmp").touch()
    assert local_left(tmp_path) == [".gone.lock", ".index.1234", "pictures/ab/ef.tmp"]
