import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from model.order import Lists, code_lists
from pipelines.evaluate.figures import COSINE, ChangedOrders, Example
from pipelines.evaluate.page import TEMPLATES
from pipelines.evaluate.sheets import (
    choose_queries,
    find_changed,
    make_examples,
    make_thumbnail,
    shown_chips,
)

TILES = TEMPLATES.get_template("tiles.html").module
CHIPS = pa.table(
    {
        "row": [10, 11, 12, 13],
        "uri": ["s3://b/a.tif", "s3://b/a.tif", "s3://b/<c>.tif", "s3://b/d.tif"],
        "window": [{"x": 0, "y": 0, "w": 8, "h": 8}, {"x": 8, "y": 0, "w": 8, "h": 8}, None, None],
        "labels": [["river"], ["river", "forest"], ["forest"], ["harbour"]],
    }
)
LABELS_NC = np.array([[0, 0, 1], [1, 0, 1], [1, 0, 0], [0, 1, 0]], bool)


def test_the_best_and_the_worst():
    precision_Q = np.array([0.5, 0.9, np.nan, 0.9, 0.9, 0.1, 0.3, 0.2])
    labels_Q = np.array([1, 0, 2, 0, 0, 1, 1, 1])
    assert choose_queries(precision_Q, labels_Q, best=True) == [1, 3, 0, 6], "two of a class, ties by row"
    assert choose_queries(precision_Q, labels_Q, best=False) == [5, 7, 1, 3]
    assert choose_queries(precision_Q, np.arange(8), best=True) == [1, 3, 4, 0, 6, 7], "six at most"


def test_rounding_breaks_no_tie():
    precision_Q = np.array([0.5, 0.5 + 1e-12, 0.5])
    assert choose_queries(precision_Q, np.arange(3), best=True) == [0, 1, 2]


def test_of_several_labels_a_class_is_a_set_of_them():
    labels_QC = np.array([[1, 1], [1, 1], [1, 1], [1, 0]], bool)
    assert choose_queries(np.array([0.9, 0.8, 0.7, 0.6]), labels_QC, best=True) == [0, 1, 3]


@pytest.fixture
def example():
    codes_NY = np.array([[0b1], [0b111], [0b11], [0b10]], np.uint8)
    lists = code_lists(codes_NY, codes_NY)
    (example,) = make_examples([0], np.array([0.75, 1, 1, 1]), lists, LABELS_NC, CHIPS)
    return example


def test_nearest_first_ties_by_row_itself_left_out(example):
    assert (example.query.row, example.query.window, example.average_precision) == (10, (0, 0, 8, 8), 0.75)
    assert [(chip.row, chip.distance, chip.right) for chip in example.nearest] == [
        (12, 1, False),
        (11, 2, True),
        (13, 2, False),
    ]
    assert example.nearest[0].window is None
    assert Example.model_validate_json(example.model_dump_json()) == example


def test_a_sheet_marks_right_and_wrong(example):
    sheet = TILES.contact_sheet(
        [example], {10: "data:image/jpeg;base64,AA==", 12: "data:image/jpeg;base64,BB=="}
    )
    assert sheet.count("<img") == 2
    assert sheet.count("unreadable") == 2, "two that could not be read again"
    assert [sheet.count(f'class="tile {kind}"') for kind in ("query", "right", "wrong")] == [1, 1, 2]
    assert "river, forest<br>✓ distance 2<" in sheet
    assert "forest<br>✗ distance 1<" in sheet
    assert 'title="s3://b/&lt;c&gt;.tif"' in sheet


def lists_of(distances_NN):
    return Lists(14, 14, lambda block: np.array(distances_NN[block], np.float32))


@pytest.fixture
def changed():
    """Fourteen chips in a line; the other method puts a few neighbours of two of them last."""
    line_NN = np.abs(np.subtract.outer(np.arange(14), np.arange(14))) / 16
    other_NN = line_NN.copy()
    other_NN[7, [6, 8, 9]] = other_NN[3, 2] = 9
    chips = pa.table(
        {
            "row": range(100, 114),
            "uri": ["s3://b/<x>.tif"] * 14,
            "window": [{"x": number, "y": 0, "w": 8, "h": 8} for number in range(14)],
            "labels": [["<river>"]] * 14,
        }
    )
    lists = {"this bundle": lists_of(other_NN), "cosine, float features": lists_of(line_NN)}
    return find_changed(("this bundle", "cosine, float features"), lists, np.arange(14), chips)


def test_queries_whose_order_changed_most_come_first(changed):
    shared = [(query.query.row, query.shared) for query in changed.queries]
    assert shared == [(107, pytest.approx(0.7)), (103, pytest.approx(0.9)), (100, pytest.approx(1))]
    assert changed.mean_shared == pytest.approx((12 + 0.7 + 0.9) / 14)
    by_code, by_cosine = changed.queries[0].lists
    assert (by_code.method, by_cosine.method) == ("this bundle", "cosine, float features")
    assert [chip.row for chip in by_cosine.nearest] == [106, 108, 105, 109, 104, 110, 103, 111, 102, 112]
    assert [chip.row for chip in by_code.nearest] == [105, 104, 110, 103, 111, 102, 112, 101, 113, 100]
    assert by_cosine.nearest[0].distance == pytest.approx(1 / 16)
    assert ChangedOrders.model_validate_json(changed.model_dump_json()) == changed
    assert shown_chips([], [changed]) == list(range(100, 114))


def test_the_sheet_of_changed_orders_names_the_methods_and_escapes_what_others_wrote(changed):
    sheet = TILES.changed_sheet(changed, {101: "data:image/jpeg;base64,AA=="}, COSINE)
    assert "<h3>This bundle, beside cosine, float features</h3>" in sheet
    assert f"Both have {changed.mean_shared:.0%} of the first ten in common" in sheet
    assert sheet.count("<p>this bundle</p>") == sheet.count("<p>cosine, float features</p>") == 3
    assert sheet.count('class="tile') == 3 * (1 + 2 * 10)
    assert "cosine 0.94" in sheet, "a sixteenth away"
    assert "<river>" not in sheet
    assert "<x>" not in sheet


def test_too_few_chips_change_no_order():
    assert find_changed(("a", "b"), {}, np.arange(4), CHIPS) is None


@pytest.mark.parametrize(
    ("shape", "size", "mode"),
    [
        ((200, 100, 3), (48, 96), "RGB"),
        ((8, 8, 4), (96, 96), "RGB"),
        ((64, 64, 2), (96, 96), "L"),
        ((1, 500, 1), (96, 1), "L"),
    ],
)
def test_thumbnails_of_any_bands(shape, size, mode):
    pixels_HWB = np.full(shape, 200, np.uint8)
    pixels_HWB[..., 0] = 50
    with Image.open(io.BytesIO(make_thumbnail(pixels_HWB))) as picture:
        assert (picture.size, picture.mode, picture.format) == (size, mode, "JPEG")
        first = np.asarray(picture, int)[..., 0] if mode == "RGB" else np.asarray(picture, int)
        assert abs(first.mean() - 50) < 5
