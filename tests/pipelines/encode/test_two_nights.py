"""Two nights at once share the work: few objects are encoded by both, and the reports say how many."""

import math
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from structlog.testing import capture_logs

import pipelines.encode.run
from pipelines.encode.in_process import InProcessExecution
from pipelines.encode.parcels import objects_of
from pipelines.encode.run import run_encode
from tests.pipelines.encode.changing import CHIPS, Archive, encode_in_process

SCENES = 14


@pytest.fixture
def archive(store, tmp_path, write_model, geotiff, monkeypatch):
    """An archive of fourteen scenes, a unit each."""
    encode_in_process(monkeypatch)
    archive = Archive.below(str(tmp_path), store, write_model, geotiff)
    for number in range(SCENES):
        pixels_HWC = np.random.default_rng(number).integers(1, 255, (32, 32, 3), np.uint8)
        store.write(f"{archive.config.source}/{number:03}.tif", geotiff(pixels_HWC, west=float(number)))
    return archive


class InStep:
    """Nights at once, each in a thread. Each begins its next unit when all that go on do.

    So none is quicker than another, however busy the machine is; and planning again takes less than a unit.
    """

    def __init__(self):
        self.encoded: Counter[str] = Counter()
        """How often each object was encoded, by uri."""
        self._begun: dict[threading.Thread, float] = {}
        self._change = threading.Condition()

    def begin(self, night, portion):
        """Wait for the other nights, before the night of this thread begins a unit."""
        with self._change:
            self.encoded.update(objects_of(portion)["uri"].to_pylist())
            if night in self._begun:
                self._begun[night] += 1
                self._change.notify_all()
                self._change.wait_for(lambda: min(self._begun.values()) >= self._begun[night])

    def run(self, config, count):
        """Run so many nights; return their reports."""
        with ThreadPoolExecutor(count) as pool:
            nights = [pool.submit(self._night, config, count) for _ in range(count)]
        return [night.result() for night in nights]

    def _night(self, config, count):
        night = threading.current_thread()
        with self._change:
            self._begun[night] = 0
            self._change.notify_all()
            self._change.wait_for(lambda: len(self._begun) == count)
        try:
            return run_encode(config)
        finally:
            with self._change:
                self._begun[night] = math.inf
                self._change.notify_all()


@pytest.fixture
def in_step(monkeypatch):
    nights, read, made = InStep(), InProcessExecution.read, InProcessExecution.__init__

    def made_in_thread(execution, *of_plan):
        execution.night = threading.current_thread()  # it reads in threads of its own
        made(execution, *of_plan)

    def read_in_step(execution, portion):
        nights.begin(execution.night, portion)
        return read(execution, portion)

    monkeypatch.setattr(InProcessExecution, "__init__", made_in_thread)

    monkeypatch.setattr(InProcessExecution, "read", read_in_step)
    return nights


def test_two_nights_at_once_share_the_units(archive, in_step):
    """Both begin with the same unit, and may meet in the middle: no more is encoded for nothing."""
    one, two = in_step.run(archive.config.model_copy(update={"objects_per_unit": 1}), 2)
    assert one.chips + two.chips == SCENES * CHIPS
    assert min(one.chips, two.chips) >= CHIPS * 2, "each has done its part"
    assert len(in_step.encoded) == SCENES
    twice = in_step.encoded.total() - SCENES
    assert twice <= 3
    assert one.encoded_for_nothing + two.encoded_for_nothing == twice
    assert archive.spoil_orphans("codes") == 0
    archive.check_objects_are_whole("codes")


def test_of_a_single_unit_the_later_night_says_that_it_was_for_nothing(archive, in_step):
    with capture_logs() as lines:
        one, two = in_step.run(archive.config.model_copy(update={"objects_per_unit": SCENES}), 2)
    assert sorted([one.chips, two.chips]) == [0, SCENES * CHIPS]
    assert one.encoded_for_nothing + two.encoded_for_nothing == in_step.encoded.total() - SCENES == SCENES
    said = "another run has committed objects that this one has just encoded"
    assert any(said in line["event"] for line in lines)


def test_a_night_alone_encodes_nothing_twice(archive, in_step):
    report = run_encode(archive.config)
    assert (report.chips, report.encoded_for_nothing) == (SCENES * CHIPS, 0)
    assert in_step.encoded.total() == SCENES


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
