import errno
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from pipelines.config import StoreConfig
from pipelines.errors import ConflictError, StorageError, StoreDownError
from pipelines.storage.ranges import FOR_CHIPS
from pipelines.storage.retry import translate_store_errors
from pipelines.storage.store import ABSENT, Store
from pipelines.table.code_table import CodeTable


def test_what_is_written_is_read(store, any_root):
    uri = f"{any_root}/a folder/schön.bin"
    store.write(uri, b"one")
    store.write(uri, b"two")
    assert store.read(uri) == b"two"
    assert store.read_with_etag(uri)[0] == b"two"
    assert pickle.loads(pickle.dumps(store)).read(uri) == b"two"


def test_a_folder_is_removed_with_all_in_it(store, any_root):
    for name in ("a/1", "a/b/2", "c/3"):
        store.write(f"{any_root}/{name}", b"x")
    store.remove_folder(f"{any_root}/a")
    store.remove_folder(f"{any_root}/never was")
    assert [info.uri for info in store.list(any_root)] == [f"{any_root}/c/3"]


def test_missing_object(store, any_root):
    with pytest.raises(FileNotFoundError):
        store.read(f"{any_root}/none")
    with pytest.raises(FileNotFoundError):
        store.read_with_etag(f"{any_root}/none")


def test_listing_names_each_object_and_its_version(store, any_root):
    for name in ("b.tif", "deep/down/a.tif", "c.txt"):
        store.write(f"{any_root}/{name}", name.encode())
    before = {info.uri: info for info in store.list(any_root)}
    assert set(before) == {f"{any_root}/{name}" for name in ("b.tif", "deep/down/a.tif", "c.txt")}
    assert before[f"{any_root}/b.tif"].size == len("b.tif")
    store.write(f"{any_root}/b.tif", b"B.TIF")
    after = {info.uri: info for info in store.list(any_root)}
    changed = [uri for uri in after if after[uri].etag != before[uri].etag]
    assert changed == [f"{any_root}/b.tif"]


def test_a_folder_can_be_listed_without_those_in_it(store, any_root):
    for name in ("a.tif", "b.tif", "deep/c.tif"):
        store.write(f"{any_root}/{name}", b"x")
    listed = store.list(any_root, recursive=False)
    assert sorted(info.uri for info in listed) == [f"{any_root}/a.tif", f"{any_root}/b.tif"]


@pytest.mark.parametrize("uri", ["s3://no-such-bucket/x", "/no/such/folder"])
def test_listing_what_is_not_there_is_the_users_error(store, uri):
    with pytest.raises(StorageError, match=r"no such (bucket|folder)"):
        list(store.list(uri))


def test_writing_to_a_missing_bucket_is_the_users_error(store):
    with pytest.raises(StorageError, match="no such bucket; check its name"):
        store.write("s3://no-such-bucket/x", b"")


NOWHERE = Store(StoreConfig(endpoint="http://127.0.0.1:1", patience=0.5))


@pytest.mark.parametrize(
    "call",
    [
        lambda: list(NOWHERE.list("s3://archive/x")),
        lambda: NOWHERE.page("s3://archive/x"),
        lambda: NOWHERE.read("s3://archive/x"),
        lambda: NOWHERE.read_with_etag("s3://archive/x"),
        lambda: NOWHERE.write("s3://archive/x", b""),
        lambda: NOWHERE.write_if_match("s3://archive/x", b"", ABSENT),
        lambda: NOWHERE.etag("s3://archive/x"),
        lambda: NOWHERE.require_bucket("s3://archive/x"),
        lambda: NOWHERE.remove("s3://archive/x"),
        lambda: NOWHERE.remove_folder("s3://archive/x"),
        CodeTable("s3://archive/x", NOWHERE).exists,
        CodeTable("s3://archive/x", NOWHERE).open,
        CodeTable("s3://archive/x", NOWHERE).create,
    ],
)
def test_a_store_that_does_not_answer_is_asked_for_a_while(store, call):
    started = time.monotonic()
    with pytest.raises(StoreDownError, match=r"can't be \w+.*; run again once the store answers") as caught:
        call()
    assert "\n" not in str(caught.value)
    assert 0.1 < time.monotonic() - started < 5


def test_arrow_asks_for_a_while_too(store):
    filesystem, path = NOWHERE.arrow_filesystem("s3://archive/x")
    with (
        pytest.raises(StoreDownError, match="NETWORK_CONNECTION"),
        translate_store_errors("s3://archive/x", "read"),
    ):
        filesystem.open_input_file(path)


def test_a_full_disk_is_no_store_that_is_down():
    with (
        pytest.raises(StorageError, match=r"x can't be written: .*No space") as caught,
        translate_store_errors("s3://x", "written"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not isinstance(caught.value, StoreDownError)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_store_that_is_too_busy_is_asked_again(store, status):
    """It refuses each other request."""

    class Busy(BaseHTTPRequestHandler):
        asked = 0

        def do_GET(self) -> None:
            Busy.asked += 1
            self.send_response(status if Busy.asked % 2 else 200)
            self.send_header("Content-Length", "7")
            self.send_header("ETag", '"1"')
            self.end_headers()
            self.wfile.write(b"content")

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        busy = Store(StoreConfig(endpoint=f"http://127.0.0.1:{server.server_port}", patience=5))
        assert [busy.read_with_etag("s3://archive/x") for _ in range(2)] == [(b"content", "1")] * 2
        server.shutdown()
    assert Busy.asked == 4


def test_other_schemes_are_refused(store):
    with pytest.raises(StorageError, match="gs:// isn't read here; s3://, https://"):
        store.read("gs://bucket/x")


def test_conditional_write(store, any_root):
    uri = f"{any_root}/pointer.json"
    store.write_if_match(uri, b"1", ABSENT)
    with pytest.raises(ConflictError):
        store.write_if_match(uri, b"2", ABSENT)
    _, etag = store.read_with_etag(uri)
    store.write_if_match(uri, b"2", etag)
    with pytest.raises(ConflictError):
        store.write_if_match(uri, b"3", etag)
    assert store.read(uri) == b"2"


def test_one_of_many_racing_writers_wins(store, any_root):
    uri = f"{any_root}/race"

    def attempt(number: int) -> bool:
        try:
            store.write_if_match(uri, str(number).encode(), ABSENT)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(8)))
    assert won.count(True) == 1
    assert store.read(uri) == str(won.index(True)).encode()


def test_only_the_version_that_was_listed_is_read(store, any_root):
    uri = f"{any_root}/a"
    store.write(uri, b"one")
    (listed,) = store.list(any_root)
    assert store.open_version(uri, listed.etag, FOR_CHIPS) == b"one"
    store.write(uri, b"another")
    with pytest.raises(StorageError, match="was replaced since it was listed"):
        store.open_version(uri, listed.etag, FOR_CHIPS)
    assert store.open_version(uri, "updated=2026-01-01", FOR_CHIPS) == b"another", (
        "that tells nothing of what is stored"
    )
    with pytest.raises(FileNotFoundError):
        store.open_version(f"{any_root}/nothing", listed.etag, FOR_CHIPS)


@pytest.mark.server
def test_what_is_on_the_web_is_read(tmp_path):
    store = Store(StoreConfig(private_hosts=True))
    (tmp_path / "a b.json").write_text("{}")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}"
        assert store.read(f"{root}/a%20b.json") == b"{}"
        assert "GMT" in store.etag(f"{root}/a%20b.json"), "of a server without etags, the time"
        assert store.etag(f"{root}/none") is None
        with pytest.raises(FileNotFoundError):
            store.read(f"{root}/none")
        server.shutdown()
    with pytest.raises(StoreDownError, match="can't be read"):
        Store(StoreConfig(private_hosts=True, patience=0.1)).read("http://127.0.0.1:1/x")


def test_an_etag_is_that_of_the_listing(store, any_root):
    store.write(f"{any_root}/a", b"x")
    (info,) = store.list(any_root)
    assert store.etag(f"{any_root}/a") == info.etag
    assert store.etag(f"{any_root}/none") is None


def test_many_threads_write_one_file_at_once(store, tmp_path):
    """Each in a temporary file of its own, and whole: also where all containers on a volume are process 1."""
    uri, contents = f"{tmp_path}/a", [bytes([number]) * 100_000 for number in range(4)]

    def write(number):
        for _ in range(50):
            store.write(uri, contents[number])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert store.read(uri) in contents
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
