"""What several of the tests of nights begin with."""

import pytest

from tests.pipelines.encode.changing import Archive, encode_in_process


@pytest.fixture
def archive(store, tmp_path, write_model, geotiff, monkeypatch):
    """An archive of a first day, and nights over it that encode in this process."""
    encode_in_process(monkeypatch)
    archive = Archive.below(str(tmp_path), store, write_model, geotiff)
    archive.first_day()
    return archive
