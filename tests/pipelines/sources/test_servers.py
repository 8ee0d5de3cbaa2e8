"""What stores and APIs answer: keys for one prefix, requests that cost, GET alone, busy servers."""

import numpy as np
import pytest

from pipelines.config import StoreConfig
from pipelines.encode.config import EncodeConfig
from pipelines.errors import StorageError
from pipelines.runtime.spill import read_spilled
from pipelines.sources.listing import list_source
from pipelines.storage.store import Store
from tests.pipelines.sources.awkward import item, landing, listing_of, page, s3_with, serving, uris
from tests.pipelines.sources.test_stac import listed

pytestmark = pytest.mark.server


def test_a_key_for_one_prefix_is_enough(tmp_path):
    with s3_with("im/a.tif", "im/x/b.tif", "other/c.tif", may_list="im/") as (store, _):
        assert set(listed(store, tmp_path / "work", "s3://b/im")) == {"s3://b/im/a.tif", "s3://b/im/x/b.tif"}
        store.require_bucket("s3://b/im/table")
        for source in ("s3://b/other", "s3://b"):
            with pytest.raises(
                StorageError, match=r"the key must be allowed s3:ListBucket for this prefix \(AccessDenied\)"
            ):
                listed(store, tmp_path / "work", source)
        with pytest.raises(StorageError, match="AccessDenied"):
            store.require_bucket("s3://b/other/table")
        # one object that may not be looked up costs no other its etag
        (tmp_path / "list.csv").write_text("uri\ns3://b/other/c.tif\ns3://b/im/a.tif\n")
        rows = listed(store, tmp_path / "work", str(tmp_path / "list.csv"))
        assert [rows[f"s3://b/{name}.tif"]["etag"] for name in ("other/c", "im/a")] == [
            "",
            store.etag("s3://b/im/a.tif"),
        ]


def test_requesters_pay_where_that_is_asked_for(tmp_path):
    csv = {"list.csv": b"uri,label\na.tif,x\n", "a.tif": b"x"}
    with (
        s3_with(objects=csv, requester_pays=True) as (store, _),
        pytest.raises(StorageError, match=r"--store\.requester-pays"),
    ):
        listed(store, tmp_path / "work", "s3://b")
    with s3_with(objects=csv, requester_pays=True, config={"requester_pays": True}) as (store, _):
        assert set(listed(store, tmp_path / "work", "s3://b")) == {"s3://b/a.tif"}
        assert set(listed(store, tmp_path / "work", "s3://b/list.csv")) == {"s3://b/a.tif"}
        assert store.read("s3://b/a.tif") == store.read_with_etag("s3://b/a.tif")[0] == b"x"
        store.require_bucket("s3://b/table")


@pytest.mark.parametrize("methods", [("GET",), ("",), ("POST",), ("POST", "GET")])
@pytest.mark.parametrize("refused", [405, 501])
def test_an_api_that_knows_get_only(tmp_path, methods, refused):
    def reply(handler) -> None:
        url = f"http://{handler.headers['Host']}"
        handler.body()
        if handler.command == "POST":
            handler.answer_json({"description": "Method Not Allowed"}, refused)
        elif not handler.path.startswith("/search"):
            handler.answer_json(landing(url, *methods))
        else:
            asked.append(handler.path)
            handler.answer_json(page(item(1)))

    asked: list[str] = []
    search = {"collections": ("c", "d"), "bbox": (0, 1, 2, 3), "datetime": "2026-06-01T00:00:00Z/.."}
    with serving(reply) as url:
        assert uris(listing_of(url, tmp_path, search=search)) == {"https://h.example/1.tif"}
    (path,) = asked
    assert "collections=c%2Cd" in path.replace(",", "%2C")
    assert "bbox=0.0%2C1.0%2C2.0%2C3.0" in path.replace(",", "%2C")
    assert "2026-06-01T00" in path


@pytest.mark.parametrize("status", [429, 503])
def test_an_api_that_is_busy_is_asked_again(tmp_path, status):
    """Each of its three answers comes at the third try, and it says when to come again."""
    counts: dict[str, int] = {}

    def reply(handler) -> None:
        url = f"http://{handler.headers['Host']}"
        counts[handler.path] = counts.get(handler.path, 0) + 1
        handler.body()
        if counts[handler.path] < 3:
            handler.answer(status, b"busy", Retry_After="0")
        elif handler.path == "/search":
            handler.answer_json(page(item(1), following={"href": f"{url}/search?token=2"}))
        elif handler.path.startswith("/search"):
            handler.answer_json(page(item(2)))
        else:
            handler.answer_json(landing(url, "POST"))

    with serving(reply) as url:
        assert len(uris(listing_of(url, tmp_path))) == 2
    assert set(counts.values()) == {3}
    assert np.sum(list(counts.values())) == 9


def test_an_object_whose_web_server_stays_busy_fails_and_keeps_its_etag(tmp_path):
    """Under an empty etag it would be encoded anew, and again the night after."""
    state = {"busy": False}

    def reply(handler) -> None:
        if state["busy"] and handler.path == "/a.tif":
            handler.answer(503)
        else:
            handler.answer(200, b"x", ETag='"v1"')

    with serving(reply) as url:
        (tmp_path / "list.csv").write_text(f"uri\n{url}/a.tif\n{url}/b.tif\n")
        config = EncodeConfig(source=f"{tmp_path}/list.csv", table="t", bundle="b")
        impatient = Store(StoreConfig(private_hosts=True, patience=0.2))
        for is_busy, failed in ((False, ()), (True, (f"{url}/a.tif",)), (False, ())):
            state["busy"] = is_busy
            listing = list_source(config, impatient, tmp_path)
            rows = {
                row["uri"]: row["etag"]
                for table in read_spilled(listing.objects)
                for row in table.to_pylist()
            }
            assert rows == {f"{url}/a.tif": "" if is_busy else "v1", f"{url}/b.tif": "v1"}
            assert listing.failed == failed
