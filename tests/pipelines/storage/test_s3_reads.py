"""Whole objects of S3 by obstore: the same bytes and etags as s3fs has, or nothing at all."""

import pytest

from pipelines.config import StoreConfig
from pipelines.errors import ReplacedError, StorageError
from pipelines.storage.s3_reads import S3Reads
from pipelines.storage.store import Store

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
def test_content_and_etag_are_those_that_s3fs_has(store, root, key):
    content = key.encode() * 1000
    store.write(f"{root}/{key}", content)
    (listed,) = store.list(root)
    sizes = []
    found = S3Reads(store.config).read(path_of(root, key), sizes.append)
    assert found == (content, listed.etag) == store.read_with_etag(f"{root}/{key}")
    assert sizes == [len(content)]
    assert store.read_version(f"{root}/{key}", listed.etag) == content


@pytest.mark.parametrize("key", AWKWARD)
def test_keys_that_it_would_change_are_left_to_s3fs(store, root, key):
    assert S3Reads(store.config).read(f"archive/{key}", lambda size: None) is None


def test_another_version_and_no_object(store, root):
    uri = f"{root}/a.tif"
    store.write(uri, b"one")
    etag = store.etag(uri)
    store.write(uri, b"two")
    with pytest.raises(ReplacedError, match="was replaced since it was listed"):
        store.read_version(uri, etag)
    with pytest.raises(FileNotFoundError):
        store.read_version(f"{root}/none.tif", etag)
    with pytest.raises(StorageError, match="no such bucket"):
        store.read_version("s3://no-such-bucket/a.tif", etag)


def test_an_empty_object(store, root):
    store.write(f"{root}/empty.tif", b"")
    content, etag = S3Reads(store.config).read(path_of(root, "empty.tif"), lambda size: None)
    assert (content, etag) == (b"", store.etag(f"{root}/empty.tif"))


def test_a_store_that_is_away(store):
    reads = S3Reads(StoreConfig(endpoint="http://127.0.0.1:1"))
    assert reads.read("archive/a.tif", lambda size: None) is None


def test_wrong_keys_are_refused_with_the_reason_of_the_store(store, root, monkeypatch):
    store.write(f"{root}/a.tif", b"one")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    refused = Store(store.config.model_copy(update={"patience": 1.0}))
    with pytest.raises(StorageError):
        refused.read_version(f"{root}/a.tif", "1")
