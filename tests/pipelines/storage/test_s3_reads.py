"""Ranges of S3 objects by obstore: the same bytes, etags and sizes as s3fs has, or nothing at all."""

import pytest

from pipelines.config import StoreConfig
from pipelines.errors import ReplacedError, StorageError
from pipelines.storage import s3
from pipelines.storage.ranges import FOR_CHIPS, Piece
from pipelines.storage.s3_reads import S3Reads

KEYS = (
    "a.tif",
    "a folder/schön.tif",
    "50%25 + more?.tif",
    "a#b.tif",
    "ends with dots..",
    "a..b/c.tif",
    "~ok",
)
AWKWARD = ("a//b.tif", "folder/", "/leading", "a/./b", "../up", "")


def path_of(root, key):
    return f"{root.removeprefix('s3://')}/{key}"


@pytest.mark.parametrize("key", KEYS)
def test_ranges_are_those_that_s3fs_has(store, root, key):
    content, path = key.encode() * 1000, path_of(root, key)
    store.write(f"{root}/{key}", content)
    (listed,) = store.list(root)
    for wanted in ((0, 1 << 20), (100, 200), (len(content) - 1, len(content) + 1)):
        piece = S3Reads(store.config).read(path, wanted, None)
        assert piece == Piece(wanted[0], content[slice(*wanted)], listed.etag, len(content))
        assert piece == s3.read_piece(store._s3, path, wanted, None)
    assert store.open_version(f"{root}/{key}", listed.etag, FOR_CHIPS) == content


@pytest.mark.parametrize("key", AWKWARD)
def test_keys_that_it_would_change_are_left_to_s3fs(store, root, key):
    assert S3Reads(store.config).read(f"archive/{key}", (0, 10), None) is None


def test_another_version_and_no_object(store, root):
    uri, path = f"{root}/a.tif", path_of(root, "a.tif")
    store.write(uri, b"one")
    etag = store.etag(uri)
    assert S3Reads(store.config).read(path, (1, 3), etag).content == b"ne"
    store.write(uri, b"two")
    assert S3Reads(store.config).read(path, (1, 3), etag) is None
    with pytest.raises(ReplacedError, match="was replaced since it was listed"):
        store.open_version(uri, etag, FOR_CHIPS)
    with pytest.raises(FileNotFoundError):
        store.open_version(f"{root}/none.tif", etag, FOR_CHIPS)
    with pytest.raises(StorageError, match="no such bucket"):
        store.open_version("s3://no-such-bucket/a.tif", etag, FOR_CHIPS)


def test_an_empty_object_is_left_to_s3fs(store, root):
    """It has no range at all."""
    store.write(f"{root}/empty.tif", b"")
    assert S3Reads(store.config).read(path_of(root, "empty.tif"), (0, 10), None) is None
    assert store.open_version(f"{root}/empty.tif", store.etag(f"{root}/empty.tif"), FOR_CHIPS) == b""


def test_a_store_that_is_away(store):
    reads = S3Reads(StoreConfig(endpoint="http://127.0.0.1:1"))
    assert reads.read("archive/a.tif", (0, 10), None) is None
