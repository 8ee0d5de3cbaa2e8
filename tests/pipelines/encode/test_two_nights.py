"""Two nights at once share the work: few objects are encoded by both, and the reports say how many."""

import threading
import time
from collections import Counter

import numpy as np
import pytest
from structlog.testing import capture_logs

import pipelines.encode.run
from pipelines.encode.parcels import objects_of
from pipelines.encode.run import run_encode
from tests.pipelines.encode.changing import CHIPS, Archive, InProcess, encode_in_process

SCENES = 14
SECONDS = 1.0  # that a unit takes at least: much longer than planning again, as in real nights


@pytest.fixture
def archive(store, tmp_path, write_model, geotiff, monkeypatch):
    """An archive of fourteen scenes, a unit each."""
    encode_in_process(monkeypatch)
    archive = Archive.below(str(tmp_path), store, write_model, geotiff)
    for number in range(SCENES):
        pixels_HWC = np.random.default_rng(number).integers(1, 255, (32, 32, 3), np.uint8)
        store.write(f"{archive.config.source}/{number:03}.tif", geotiff(pixels_HWC, west=float(number)))
    return archive


@pytest.fixture
def encoded(monkeypatch):
    """How often each object was encoded, by uri."""
    counted: Counter[str] = Counter()
    read = InProcess.read

    def read_slowly(execution, portion):
        counted.update(objects_of(portion)["uri"].to_pylist())
        time.sleep(SECONDS)
        return read(execution, portion)

    monkeypatch.setattr(InProcess, "read", read_slowly)
    return counted


def both_at_once(config):
    reports = []
    nights = [threading.Thread(target=lambda: reports.append(run_encode(config))) for _ in range(2)]
    for night in nights:
        night.start()
    for night in nights:
        night.join()
    return reports


def test_two_nights_at_once_share_the_units(archive, encoded):
    """Both begin with the same unit, and may meet in the middle: no more is encoded for nothing."""
    one, two = both_at_once(archive.config.model_copy(update={"objects_per_unit": 1}))
    assert one.chips + two.chips == SCENES * CHIPS
    assert min(one.chips, two.chips) >= CHIPS * 2, "each has done its part"
    assert len(encoded) == SCENES
    twice = encoded.total() - SCENES
    assert twice <= 3
    assert one.encoded_for_nothing + two.encoded_for_nothing == twice
    assert archive.spoil_orphans("codes") == 0
    archive.check_objects_are_whole("codes")


def test_of_a_single_unit_the_later_night_says_that_it_was_for_nothing(archive, encoded):
    with capture_logs() as lines:
        one, two = both_at_once(archive.config.model_copy(update={"objects_per_unit": SCENES}))
    assert sorted([one.chips, two.chips]) == [0, SCENES * CHIPS]
    assert one.encoded_for_nothing + two.encoded_for_nothing == encoded.total() - SCENES == SCENES
    said = "another run has committed objects that this one has just encoded"
    assert any(said in line["event"] for line in lines)


def test_a_night_alone_encodes_nothing_twice(archive, encoded):
    report = run_encode(archive.config)
    assert (report.chips, report.encoded_for_nothing) == (SCENES * CHIPS, 0)
    assert encoded.total() == SCENES


def test_units_from_the_end_hold_what_units_from_the_front_do(archive, monkeypatch):
    """The rows are the same, whichever end a night begins at."""
    run_encode(archive.night("front"))
    init = pipelines.encode.run.Night.__init__

    def from_the_end(night, *rest):
        init(night, *rest)
        night.from_the_end = True

    monkeypatch.setattr(pipelines.encode.run.Night, "__init__", from_the_end)
    run_encode(archive.night("end"))
    assert archive.state("front")["publications"] == archive.state("end")["publications"]
