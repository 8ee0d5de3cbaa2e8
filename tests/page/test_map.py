"""What the map shows: each footprint where its chip is, in the colour of its distance."""

import io
import math
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.page.conftest import Visitor
from tests.pipelines.serve.conftest import Archive

_SCALE = np.array([(143, 19, 70), (200, 49, 46), (234, 115, 37), (243, 176, 79), (242, 219, 160)])  # light
SEA = (0xE3, 0xE8, 0xEE)
_ANSWERED = """() => performance.getEntriesByType('resource')
  .filter(each => each.name.endsWith('/v1/search')).at(-1).responseEnd"""
_RESET = """() => {
  const card = document.querySelector('.map canvas').getContext('webgl2').getExtension('WEBGL_lose_context');
  card.loseContext();
  setTimeout(() => card.restoreContext(), 200);
}"""


def colour_at(visitor: Visitor, longitude: float, latitude: float) -> np.ndarray:
    """The colour on the screen at a place."""
    x, y = visitor.at(longitude, latitude)
    picture = Image.open(io.BytesIO(visitor.page.screenshot())).convert("RGB")
    return np.array(picture.getpixel((round(x), round(y))))


def drawn_after(visitor: Visitor, moment: float) -> None:
    """Wait until the map has come to rest after a moment of the page's own clock."""
    visitor.page.wait_for_function(
        "moment => Number(document.querySelector('.map .canvas').dataset.drawn) > moment", arg=moment
    )


def colour_of(share: float) -> np.ndarray:
    """The scale's colour at a share of the way from the least distance to the greatest."""
    steps = np.arange(len(_SCALE)) / (len(_SCALE) - 1)
    return np.array([np.interp(share, steps, channel) for channel in _SCALE.T])


def in_sight(features: list[dict[str, Any]]) -> tuple[dict[str, Any], tuple[float, float]]:
    """The first of the features that is a dot with none of the nearer ones close, and where it is."""
    middles = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in (each["bbox"] for each in features)]
    for place, (each, (x, y)) in enumerate(zip(features, middles, strict=True)):
        is_dot = 0 < each["bbox"][2] - each["bbox"][0] < 3
        is_free = all(math.hypot(x - east, y - north) > 8 for east, north in middles[:place])
        if is_dot and is_free and abs(x) < 100 and abs(y) < 55:
            return each, (x, y)
    raise AssertionError("the archive has no such chip")


def test_footprints_are_where_the_chips_are(archive: Archive, http: httpx.Client, visit) -> None:
    visitor = visit(color_scheme="light")
    start = archive.ids()[5]
    visitor.open(f"#for={start}")
    visitor.page.wait_for_selector(".card")
    features = http.post("/v1/search", json={"chip_ids": [start], "k": 1000}).json()["features"]
    distances = [each["properties"]["distance"] for each in features]
    chip, place = in_sight([each for each in features if each.get("bbox")])
    distance = chip["properties"]["distance"]
    expected = colour_of((distance - distances[0]) / (distances[-1] - distances[0]))
    drawn_after(visitor, visitor.page.evaluate(_ANSWERED))  # pictures come later
    pin = visitor.page.wait_for_selector(".example-mark")
    pin.evaluate("pin => pin.remove()")  # it stands over the chips north of the example
    assert np.abs(colour_at(visitor, *place) - expected).max() < 12
    assert np.abs(colour_at(visitor, 0, -45) - SEA).max() < 12

    visitor.page.mouse.move(*visitor.at(*place))
    visitor.page.wait_for_selector(".under-pointer strong")
    assert visitor.page.inner_text(".under-pointer strong").split()[0] == f"{distance:g}"
    visitor.page.mouse.move(*visitor.at(0, -45))
    visitor.page.wait_for_selector(".under-pointer", state="detached")

    visitor.page.click(".layers summary")
    for choose in (visitor.page.uncheck, visitor.page.check):
        now = visitor.page.evaluate("performance.now()")
        choose("text=Results")
        drawn_after(visitor, now)
        is_drawn = np.abs(colour_at(visitor, *place) - expected).max() < 12
        assert is_drawn == (choose == visitor.page.check)
    visitor.page.click(".layers summary")

    attributes = "document.querySelector('.map canvas').getContext('webgl2').getContextAttributes()"
    assert visitor.page.evaluate(attributes)["desynchronized"], "in software no frame waits for its pixels"
    before = visitor.page.evaluate("performance.now()")
    visitor.page.evaluate(_RESET)
    drawn_after(visitor, before + 200)
    assert np.abs(colour_at(visitor, *place) - expected).max() < 12, "a graphics card that was reset"
    assert not visitor.complaints
