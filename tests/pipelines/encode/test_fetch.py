"""Objects are opened ahead: in order, as many as are allowed, whatever goes wrong with some."""

import threading
import time
from contextlib import closing

import pytest

from pipelines.encode.fetch import OBJECTS_AHEAD, opened
from pipelines.errors import ReplacedError, StorageError
from pipelines.storage.ranges import FOR_CHIPS, ObjectRanges


@pytest.fixture
def objects(store, any_root):
    """Forty objects of different sizes, as they are listed."""
    for number in range(40):
        store.write(f"{any_root}/{number:02}", bytes([number]) * (100 + 37 * (number % 5)))
    return sorted(
        ({"uri": info.uri, "etag": info.etag} for info in store.list(any_root)), key=lambda each: each["uri"]
    )


def test_all_come_in_their_order(store, objects):
    found = list(opened(objects, store))
    assert [listed for listed, _ in found] == objects
    assert [content for _, content in found] == [store.read(each["uri"]) for each in objects]


def test_what_goes_wrong_with_some_costs_no_others(store, objects):
    store.remove(objects[3]["uri"])
    store.write(objects[7]["uri"], b"another")
    objects[9] = {"uri": "s3://no-such-bucket/x", "etag": "1"}
    contents = [content for _, content in opened(objects, store)]
    assert isinstance(contents[3], FileNotFoundError)
    assert "has gone since it was listed" in str(contents[3])
    assert isinstance(contents[7], ReplacedError)
    assert isinstance(contents[9], StorageError)
    assert sum(isinstance(content, bytes) for content in contents) == 37


def test_of_a_large_object_only_the_beginning_waits(store, any_root):
    content = bytes(FOR_CHIPS.whole + 1)
    store.write(f"{any_root}/large", content)
    store.write(f"{any_root}/small", content[:-1])
    uris = [f"{any_root}/large", f"{any_root}/small"]
    (_, large), (_, small) = opened([{"uri": uri, "etag": store.etag(uri)} for uri in uris], store)
    assert small == content[:-1]
    assert isinstance(large, ObjectRanges)
    assert large.held_bytes == large.bytes_read == FOR_CHIPS.first
    store.write(uris[0], b"another")
    with pytest.raises(ReplacedError, match="replaced while it was read"):
        large.read([(len(content) - 10, len(content))])


class Slow:
    """A store whose answers come in another order than they were asked for; it counts its objects."""

    def __init__(self):
        self.lock = threading.Lock()
        self.asked = self.at_once = self.most_at_once = 0

    def open_version(self, uri, etag, reading):
        with self.lock:
            self.asked += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        number = int(uri.rpartition("/")[2])
        time.sleep(0.001 * (number * 7 % 5))
        with self.lock:
            self.at_once -= 1
        return str(number).encode()


@pytest.mark.parametrize(("prefix", "most"), [("s3://a/", OBJECTS_AHEAD), ("https://a.example/", 4)])
def test_so_many_are_opened_ahead_and_no_more(prefix, most):
    store = Slow()
    objects = [{"uri": f"{prefix}{number}", "etag": ""} for number in range(100)]
    with closing(opened(objects, store)) as found:
        for number, (_, content) in enumerate(found):
            assert content == str(number).encode()
            assert store.asked <= number + 1 + most
    assert 1 < store.most_at_once <= most


def test_nobody_waits_for_a_reader_that_has_gone():
    store = Slow()
    with closing(opened([{"uri": f"s3://a/{number}", "etag": ""} for number in range(100)], store)) as found:
        next(found)
    assert store.at_once == 0, "all threads have ended"
    assert store.asked <= 1 + OBJECTS_AHEAD
