import io

import numpy as np
import pytest
from PIL import Image

from pipelines.demo.pictures import Answer, Hit, contact_sheet, world_map


def png(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (30, 30), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def answers():
    hits = [Hit(png("red"), 3, False, (10.0, 20.0, 12.0, 22.0)), Hit(png("blue"), 9, True, None)]
    return [Answer("a question", png("lime"), hits), Answer("another", png("lime"), hits[:1])]


def colours(picture):
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    return np.asarray(image)


def test_contact_sheet_shows_the_query_and_each_hit(answers):
    sheet_HWC = colours(contact_sheet(answers))
    for colour, tiles in (((0, 255, 0), 2), ((255, 0, 0), 2), ((0, 0, 255), 1)):
        pixels = (sheet_HWC == colour).all(axis=2).sum()
        assert pixels == pytest.approx(tiles * 132 * 132, rel=0.01)


def test_map_marks_where_the_hits_lie(answers):
    blank = Image.new("RGB", (360, 180), "black")
    marked_HWC = colours(world_map(blank, answers[:1]))
    unmarked_HWC = colours(world_map(blank, [Answer("a question", png("lime"), [])]))
    rows, columns = np.nonzero((marked_HWC != unmarked_HWC).any(axis=2))
    height, width, _ = marked_HWC.shape
    assert columns.mean() / width * 360 - 180 == pytest.approx(11, abs=0.5)
    assert 90 - rows.mean() / height * 180 == pytest.approx(21, abs=0.5)
