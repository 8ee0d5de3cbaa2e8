"""A task is repeated in the middle of its parcels and finds other objects: no chip is lost or there twice."""

import pytest

from pipelines.encode.in_process import InProcessExecution
from pipelines.encode.parcels import objects_of, read_portion
from pipelines.encode.run import run_encode
from pipelines.errors import StorageError
from pipelines.storage.store import Store
from tests.pipelines.encode.changing import (
    CHIPS,
    assert_as_undisturbed,
)


class Unreadable(Store):
    """A store that doesn't give one object."""

    def open_version(self, uri, etag, reading):
        if uri.endswith("/002.tif"):
            raise StorageError(f"{uri} can't be read now")
        return super().open_version(uri, etag, reading)


@pytest.mark.parametrize("readable_first", [True, False])
@pytest.mark.parametrize("yielded", [0, 1, 2, 3, 5, 6])
def test_a_task_that_is_repeated(archive, monkeypatch, yielded, readable_first):
    """A parcel holds an object's chips, and rows of objects without: these shift what comes behind."""
    config = archive.night("codes").model_copy(update={"objects_per_unit": 8, "batch_size": 1})

    def read(execution, portion):
        assert len(objects_of(portion)) == 8
        stores = execution.store, Unreadable(config.store)
        whole, other = (list(read_portion(portion, execution.chip_specs, store, 1)) for store in stores)
        first, second = (whole, other) if readable_first else (other, whole)
        return iter([*first[:yielded], *second[yielded:]])

    with monkeypatch.context() as patch:
        patch.setattr(InProcessExecution, "read", read)
        report = run_encode(config)
    scenes = [uri for uri in report.failed if "/00" in uri]
    assert report.chips + CHIPS * len(scenes) == 6 * CHIPS
    assert len(set(report.failed)) == len(report.failed) == report.numbers()["failed"]
    if yielded == 3:
        assert scenes, "the case is there at all"
    archive.check_objects_are_whole("codes")
    archive.spoil_orphans("codes")
    assert run_encode(config).chips == CHIPS * len(scenes)
    assert_as_undisturbed(archive)
