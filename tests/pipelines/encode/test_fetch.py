"""Objects are fetched ahead: in order, as many bytes as are allowed, whatever goes wrong with some."""

import threading
import time
from contextlib import closing

import pytest

from pipelines.encode import fetch
from pipelines.encode.fetch import fetched
from pipelines.errors import ReplacedError, StorageError


@pytest.fixture
def objects(store, any_root):
    """Forty objects of different sizes, as they are listed."""
    for number in range(40):
        store.write(f"{any_root}/{number:02}", bytes([number]) * (100 + 37 * (number % 5)))
    return sorted(
        ({"uri": info.uri, "etag": info.etag} for info in store.list(any_root)), key=lambda each: each["uri"]
    )


def test_all_come_in_their_order(store, objects):
    found = list(fetched(objects, store))
    assert [listed for listed, _ in found] == objects
    assert [content for _, content in found] == [store.read(each["uri"]) for each in objects]


def test_what_goes_wrong_with_some_costs_no_others(store, objects):
    store.remove(objects[3]["uri"])
    store.write(objects[7]["uri"], b"another")
    objects[9] = {"uri": "s3://no-such-bucket/x", "etag": "1"}
    contents = [content for _, content in fetched(objects, store)]
    assert isinstance(contents[3], FileNotFoundError)
    assert "has gone since it was listed" in str(contents[3])
    assert isinstance(contents[7], ReplacedError)
    assert isinstance(contents[9], StorageError)
    assert sum(isinstance(content, bytes) for content in contents) == 37


class Slow:
    """A store whose answers come in another order than they were asked for; it counts what is in memory."""

    def __init__(self, sizes):
        self.sizes, self.lock = sizes, threading.Lock()
        self.held = self.most = self.asked = self.at_once = self.most_at_once = 0

    def read_version(self, uri, etag, admit):
        with self.lock:
            self.asked += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        size = self.sizes[int(uri)]
        time.sleep(0.001 * (int(uri) * 7 % 5))
        if size % 2:  # of the others the size isn't known before
            admit(size)
        with self.lock:
            self.held += size
            self.most = max(self.most, self.held)
            self.at_once -= 1
        return bytes(size)


def test_bytes_in_memory_are_bounded_and_a_large_object_comes_alone(monkeypatch):
    monkeypatch.setattr(fetch, "BYTES_AHEAD", 1000)
    sizes = [301, 299, 5001, 333, 101, 999, 1001, 1, 777, 555] * 5
    store = Slow(sizes)
    objects = [{"uri": str(number), "etag": ""} for number in range(len(sizes))]
    for listed, content in fetched(objects, store):
        time.sleep(0.002)
        assert len(content) == sizes[int(listed["uri"])]
        with store.lock:
            store.held -= len(content)
    assert store.most <= 5001 + 1001, "one that is decoded; and one large one, or little ones, that wait"
    assert store.most_at_once > 1


def test_nobody_waits_for_a_reader_that_has_gone(monkeypatch):
    monkeypatch.setattr(fetch, "BYTES_AHEAD", 100)
    store = Slow([99] * 100)
    with closing(fetched([{"uri": str(number), "etag": ""} for number in range(100)], store)) as contents:
        next(contents)
    assert store.at_once == 0, "all threads have ended"
    assert store.asked <= 1 + fetch.OBJECTS_AHEAD + 1
