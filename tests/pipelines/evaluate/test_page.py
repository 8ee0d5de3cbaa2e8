"""The page, of a report made by hand: all that others may have written is text in it, never markup."""

import re
from html import unescape

import pytest

from pipelines.evaluate.figures import (
    BUNDLE,
    COSINE,
    LEAVE_ONE_OUT,
    TEST_ASKS_TRAIN,
    EvaluateReport,
    Example,
    ExampleChip,
    Figures,
    MethodOverview,
    Neighbour,
    Protocol,
    UnreadableChip,
)
from pipelines.evaluate.page import render
from pipelines.labels.dataset import SplitConfig

HOSTILE = "<b onclick='x'>\"&"


def figures(method, bits):
    at_k = dict.fromkeys((1, 5, 10, 20, 50, 100), 0.5)
    return Figures(
        method=method,
        bits=bits,
        map_all=0.25,
        map_at_k=at_k,
        precision_at_k=at_k,
        recall_at_k=at_k,
        map_of_class={HOSTILE: 0.25},
        precision_recall=[(0.0, 1.0), (1.0, 0.5)],
        precision_within_2=0.75 if bits else None,
        precision_within=[1.0] * 9 if bits else None,
        distinct_ratio=1.0 if bits else None,
    )


def knows(method, bits):
    measured = ("trained_map20", "kept_recall10", "distinct", "turned_first", "turned_first10")
    empty = ("unseen_map20", "in_class_recall10", "place10")
    return MethodOverview(
        method=method,
        bits=bits,
        compare="both",
        tied10=7.5,
        **dict.fromkeys(measured, 0.125),
        **dict.fromkeys(empty),
    )


@pytest.fixture
def report():
    chip = {"uri": f"s3://b/{HOSTILE}.tif", "window": (0, 0, 8, 8), "labels": [HOSTILE]}
    neighbour = Neighbour(row=2, distance=3, right=False, **chip)
    methods = [figures(BUNDLE, 8), figures(COSINE, None)]
    counts = {"queries": 4, "unanswerable": 1, "database": 5, "methods": methods}
    pairs = {"same_class": [1] * 9, "different_class": [0] * 9}
    health = ("distinct_ratio", "mean_bit_on", "worst_bit_on", "bit_entropy", "mean_abs_correlation")
    return EvaluateReport(
        model_id="m@0",
        bundle="s3://b/m",
        source=f"s3://b/{HOSTILE}",
        split=SplitConfig(),
        chips={"train": 6, "test": 5},
        unreadable=[UnreadableChip(uri=f"s3://b/{number}", reason=HOSTILE) for number in range(21)],
        classes=2,
        multi_label=True,
        unseen_classes=[HOSTILE],
        bits=8,
        parts={"kind": 8},
        weights={"kind": 1},
        features=64,
        seed=0,
        protocols=[Protocol(name=name, **counts, **pairs) for name in (LEAVE_ONE_OUT, TEST_ASKS_TRAIN)],
        knows=[knows(BUNDLE, 8), knows(COSINE, None)],
        places=HOSTILE,
        changed=[],
        best=[Example(query=ExampleChip(row=1, **chip), average_precision=0.5, nearest=[neighbour])],
        worst=[],
        health={"test": dict.fromkeys(health, 0.5)},
        collapsed=[HOSTILE],
        page="s3://b/evaluation.html",
    )


def test_what_others_wrote_is_escaped(report):
    page = render(report, {1: "data:image/jpeg;base64,AA=="})
    assert "<b " not in page
    assert unescape(page).count(HOSTILE) > 20 + 10
    titles = re.findall(r'<figure class="tile \w+" title="([^"]*)">', page)
    assert [unescape(title) for title in titles] == [f"s3://b/{HOSTILE}.tif (0, 0, 8, 8)"] * 2


def test_the_parts_of_the_page(report):
    page = render(report, {1: "data:image/jpeg;base64,AA=="})
    assert page.startswith("<!doctype html>")
    assert "8 kind bits; 6 train, 5 test chips of 2 classes" in page
    assert "two that share one count as alike" in page
    headings = re.findall(r"<h[23]>(.*?)</h[23]>", page)
    assert headings == [
        "What each method knows",
        "Leave one out in test",
        "Best queries",
        "Worst queries",
        "Test asks train",
        "Code health",
        "Unreadable chips",
    ]
    assert page.count("<svg") == 2 * 6
    assert page.count('<tr class="own"><td>this bundle</td><td>8</td>') == 3
    assert "<td>this bundle</td><td>8</td><td>0.125</td><td></td><td></td><td>0.125</td><td>7.5</td>" in page
    assert "4 queries, 1 left out that had nothing to find, 5 chips in the database" in page
    assert "21 chips, left out of every figure; the first 20" in page
    assert "s3://b/19</td>" in page
    assert "s3://b/20</td>" not in page
    assert "<br>✗ distance 3</figcaption>" in page
    assert page.count("unreadable</span>") == 1, "the picture of the neighbour"


def test_a_page_without_alarms(report):
    change = {"collapsed": [], "unreadable": [], "unseen_classes": [], "multi_label": False, "places": None}
    page = render(report.model_copy(update=change), {})
    assert "The bundle was trained on every class here" in page
    assert "haven't collapsed" in page
    for absent in ("Unreadable chips", 'class="alarm"', "several labels", "places of"):
        assert absent not in page
