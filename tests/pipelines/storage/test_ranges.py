"""Objects read in pieces: what comes is what is there, of one version, and nothing is asked for twice."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config import StoreConfig
from pipelines.errors import ReplacedError, StorageError
from pipelines.storage.ranges import ObjectRanges, Piece, Reading
from pipelines.storage.store import Store

SMALL = Reading(first=1000, whole=4000, keep=500_000, ahead=0)
CONTENT = random.Random(0).randbytes(700_000)


def opened(store, uri, content=CONTENT, reading=SMALL):
    store.write(uri, content)
    return store.open_version(uri, store.etag(uri), reading)


def test_ranges_are_what_is_there(store, any_root):
    ranges = opened(store, f"{any_root}/a")
    assert ranges.size == len(CONTENT)
    wanted = [(0, 10), (990, 1010), (600_000, 600_001), (5, 5), (699_990, 800_000), (900_000, 900_010)]
    assert ranges.read(wanted) == [CONTENT[start:stop] for start, stop in wanted]


@pytest.mark.parametrize(("size", "requests"), [(0, 1), (1, 1), (1000, 1), (1001, 2), (4000, 2)])
def test_small_objects_come_whole(store, any_root, size, requests):
    content = CONTENT[:size]
    assert opened(store, f"{any_root}/a", content) == content


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 700_100), st.integers(0, 90_000)), min_size=1, max_size=4),
        max_size=8,
    ),
    st.sampled_from([0, 100_000, 10_000_000]),
    st.sampled_from([0, 300_000]),
)
def test_any_reads_in_any_order(reads, keep, ahead):
    """Whatever is kept, widened or read ahead: the answer is the content."""
    asked = []

    def fetch(wanted):
        asked.extend(wanted)
        return [Piece(start, CONTENT[start:stop], "e", len(CONTENT)) for start, stop in wanted]

    first = Piece(0, CONTENT[:1000], "e", len(CONTENT))
    ranges = ObjectRanges("a", first, fetch, Reading(1000, 0, keep, ahead))
    for read in reads:
        wanted = [(start, start + length) for start, length in read]
        assert ranges.read(wanted) == [CONTENT[start:stop] for start, stop in wanted]
        assert ranges.held_bytes <= 1000 + keep
    while ranges._coming:
        time.sleep(0.001)
    assert ranges.bytes_read == 1000 + sum(stop - start for start, stop in asked)
    assert ranges.requests == 1 + len(asked)


def test_neighbours_are_one_request_and_nothing_is_asked_for_twice(store, any_root):
    ranges = opened(store, f"{any_root}/a")
    ranges.read([(100_000, 180_000), (180_000, 260_000), (270_000, 300_000)])
    assert ranges.requests == 2
    ranges.read([(400_000, 410_000), (600_000, 650_000)])
    assert ranges.requests == 4, "places far apart are asked for apart"
    ranges.read([(100_000, 300_000), (600_010, 600_020)])
    assert ranges.requests == 4


def test_a_reader_that_goes_on_gets_more_at_a_time(store, any_root):
    ranges = opened(store, f"{any_root}/a", reading=Reading(1000, 1000, 1 << 20, 1 << 20))
    for start in range(0, 700_000, 10_000):
        ranges.read([(start, start + 10_000)])
    assert ranges.requests <= 6
    assert ranges.bytes_read <= len(CONTENT) + 10_000


@pytest.mark.parametrize("places", [1, 3])
def test_a_reader_that_goes_on_asks_only_for_the_first_pieces_itself(places):
    """The others come while it works on the ones before; none comes twice, and the memory is bounded."""
    content, reader = random.Random(1).randbytes(9 << 20), threading.current_thread()
    asked, waited_for = [], []

    def fetch(wanted):
        asked.extend(wanted)
        if threading.current_thread() is reader:
            waited_for.extend(wanted)
        return [Piece(start, content[start:stop], "e", len(content)) for start, stop in wanted]

    ranges = ObjectRanges("a", Piece(0, b"", "e", len(content)), fetch, Reading(0, 0, 4 << 20, 1 << 20))
    part = len(content) // places
    for start in range(0, part - 10_007, 10_007):
        wanted = [(number * part + start, number * part + start + 10_007) for number in range(places)]
        assert ranges.read(wanted) == [content[start:stop] for start, stop in wanted]
        assert ranges.held_bytes <= 4 << 20
    assert sum(stop - start for start, stop in waited_for) <= places * (200 << 10)
    assert sum(stop - start for start, stop in asked) <= len(content) + places * (1 << 20)


def test_threads_share_what_is_on_its_way():
    asked, on_its_way, gate = [], threading.Event(), threading.Event()

    def fetch(wanted):
        asked.extend(wanted)
        on_its_way.set()
        assert gate.wait(60)
        return [Piece(start, CONTENT[start:stop], "e", len(CONTENT)) for start, stop in wanted]

    # all pieces are kept, in whichever order they come
    ranges = ObjectRanges("a", Piece(0, b"", "e", len(CONTENT)), fetch, replace(SMALL, keep=1 << 20))
    with ThreadPoolExecutor(8) as pool:
        reads = [pool.submit(ranges.read, [(100_000, 200_000)])]
        assert on_its_way.wait(60)
        reads += [pool.submit(ranges.read, [(100_000, 200_000 - number)]) for number in range(1, 8)]
        time.sleep(0.2)
        gate.set()
        assert [read.result()[0] for read in reads] == [CONTENT[100_000 : 200_000 - n] for n in range(8)]
    ranges.read([(100_000, 199_999)])
    assert asked == [(100_000, 200_000)]


def test_a_failure_reaches_all_who_wait_and_is_forgotten():
    fails = [True]

    def fetch(wanted):
        if fails[0]:
            raise StorageError("down")
        return [Piece(start, CONTENT[start:stop], "e", len(CONTENT)) for start, stop in wanted]

    ranges = ObjectRanges("a", Piece(0, b"", "e", len(CONTENT)), fetch, SMALL)
    with pytest.raises(StorageError, match="down"):
        ranges.read([(5, 10)])
    fails[0] = False
    assert ranges.read([(5, 10)]) == [CONTENT[5:10]]


def test_ranges_are_of_one_version(store, any_root):
    """Also where the table's etag can't be compared with the store's."""
    uri = f"{any_root}/a"
    for etag in ("", "1220-a-checksum", None):
        store.write(uri, CONTENT)
        ranges = store.open_version(uri, store.etag(uri) if etag is None else etag, SMALL)
        store.write(uri, CONTENT[::-1])
        with pytest.raises(ReplacedError, match="replaced while it was read"):
            ranges.read([(300_000, 300_010)])
    store.write(uri, CONTENT)
    before = store.etag(uri)
    store.write(uri, CONTENT[1:])
    with pytest.raises(ReplacedError, match="since it was listed"):
        store.open_version(uri, before, SMALL)


def test_an_object_that_is_gone(store, any_root):
    with pytest.raises(FileNotFoundError):
        store.open_version(f"{any_root}/nothing", "", SMALL)
    ranges = opened(store, f"{any_root}/a")
    store.remove(f"{any_root}/a")
    with pytest.raises(FileNotFoundError):
        ranges.read([(300_000, 300_010)])


@pytest.fixture(params=["ranges", "no ranges"])
def website(request):
    """A web server with one page, its content, and the ranges that were asked for."""
    page = {"content": CONTENT, "etag": '"5f3-61a2b"', "asked": []}

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted, content = self.headers.get("Range"), page["content"]
            page["asked"].append(wanted)
            start, stop = 0, len(content)
            if wanted and request.param == "ranges":
                start, last = (int(place) for place in wanted.removeprefix("bytes=").split("-"))
                stop = min(last + 1, len(content))
                self.send_response(206 if start < stop else 416)
                stated = f"{start}-{stop - 1}" if start < stop else "*"
                self.send_header("Content-Range", f"bytes {stated}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("ETag", page["etag"])
            self.send_header("Content-Length", str(max(0, stop - start)))
            self.end_headers()
            self.wfile.write(content[start:stop])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/a.tif", page, request.param == "ranges"
        server.shutdown()


def test_ranges_of_the_web(website):
    uri, page, knows_ranges = website
    web = Store(StoreConfig(private_hosts=True, patience=0))
    found = web.open_version(uri, "unlike any", SMALL)
    if not knows_ranges:
        assert found == CONTENT
        assert len(page["asked"]) == 1
        return
    wanted = [(300_000, 300_010), (600_000, 650_000), (699_990, 900_000)]
    assert found.read(wanted) == [CONTENT[start:stop] for start, stop in wanted]
    assert len(page["asked"]) == 4
    page["etag"] = '"another"'
    with pytest.raises(ReplacedError):
        found.read([(400_000, 400_010)])


@pytest.mark.parametrize("size", [0, 10, 3000])
def test_small_pages_come_whole(website, size):
    uri, page, _ = website
    page["content"] = CONTENT[:size]
    assert Store(StoreConfig(private_hosts=True)).open_version(uri, "", SMALL) == CONTENT[:size]


def test_private_networks_stay_closed_to_ranges(website):
    with pytest.raises(StorageError, match="private network"):
        Store(StoreConfig()).open_version(website[0], "", SMALL)
