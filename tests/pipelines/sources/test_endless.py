"""Sources that never end: circles of links, tokens, names and folders, and files that aren't files."""

import json
import os
import socket
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from pipelines.config import StoreConfig
from pipelines.encode.config import EncodeConfig
from pipelines.errors import ConfigError, ScenehashError, StorageError
from pipelines.labels.dataset import read_labels
from pipelines.registry.bundles import read_bundle
from pipelines.sources.listing import list_source
from pipelines.sources.stac import search_api
from pipelines.storage.ranges import FOR_CHIPS
from pipelines.storage.store import Store
from tests.pipelines.sources.awkward import item, landing, page, s3_with, serving
from tests.pipelines.sources.test_stac import listed

pytestmark = pytest.mark.server

LOCAL = Store(StoreConfig(private_hosts=True, patience=2))


def passed_over(source: object, folder: Path) -> dict[str, int]:
    folder.mkdir(exist_ok=True)
    return dict(
        list_source(EncodeConfig(source=str(source), table="t", bundle="b"), LOCAL, folder).passed_over.counts
    )


def test_a_key_with_two_slashes_is_listed_once(tmp_path):
    keys = ("im/a.tif", "im//b.tif", "im///c.tif", "im/d//e.tif", "/f.tif")
    with s3_with(*keys) as (store, asked):
        assert set(listed(store, tmp_path / "1", "s3://b/im")) == {f"s3://b/{key}" for key in keys[:4]}
        assert set(listed(store, tmp_path / "2", "s3://b/im//")) == {f"s3://b/{key}" for key in keys[:4]}
        assert set(listed(store, tmp_path / "3", "s3://b")) == {f"s3://b/{key}" for key in keys}
        assert len(asked) < 30
        (tmp_path / "list.csv").write_text("uri\n" + "\n".join(f"s3://b/{key}" for key in keys))
        rows = listed(store, tmp_path / "4", str(tmp_path / "list.csv"))
        assert {uri: row["etag"] for uri, row in rows.items()} == {
            f"s3://b/{key}": store.etag(f"s3://b/{key}") for key in keys
        }
        assert all(row["etag"] for row in rows.values())


@pytest.mark.parametrize("recursive", [True, False])
def test_a_store_that_leads_to_the_same_page_again(tmp_path, recursive):
    with s3_with("im/a.tif", same_token=True) as (store, asked):
        with pytest.raises(StorageError, match="gives the same page again and again"):
            list(store.list("s3://b/im", recursive=recursive))
        with pytest.raises(StorageError, match="gives the same page again and again"):
            listed(store, tmp_path, "s3://b/im")
        assert len(asked) < 10


def catalog(*links: tuple[str, str]) -> dict:
    return {
        "type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "d",
        "links": [{"rel": rel, "href": href} for rel, href in links],
    }  # fmt: skip


def test_catalogs_in_a_circle_are_opened_once(tmp_path):
    (tmp_path / "a.json").write_text(
        json.dumps(catalog(("child", "./a.json"), ("child", "./x/../b.json"), ("item", "./i.json")))
    )
    (tmp_path / "b.json").write_text(json.dumps(catalog(("child", "./a.json#top"), ("item", "./j.json"))))
    for number, name in enumerate("ij"):
        (tmp_path / f"{name}.json").write_text(json.dumps(item(number)))
    rows = listed(LOCAL, tmp_path / "work", str(tmp_path / "a.json"))
    assert set(rows) == {"https://h.example/0.tif", "https://h.example/1.tif"}


def test_catalogs_that_lead_ever_deeper_are_given_up(tmp_path):
    """Each address has the same catalog, whose link leads one folder deeper."""
    deeper = catalog(("child", "./deeper/c.json"))
    with (
        serving(lambda handler: handler.answer_json(deeper)) as url,
        pytest.raises(ConfigError, match="doesn't end"),
    ):
        listed(LOCAL, tmp_path, f"{url}/c.json")


def api_in_a_circle(period: int, **following: object):
    """An API of so many pages, the last of which leads to the first. A link's NONCE is ever another."""
    counts = {"asked": 0}

    def reply(handler) -> None:
        counts["asked"] += 1
        url = f"http://{handler.headers['Host']}"
        if not handler.path.startswith("/search"):
            handler.answer_json(landing(url, "POST", "GET"))
            return
        body = handler.body()
        asked = (
            json.loads(body) if body else {k: v[0] for k, v in parse_qs(urlsplit(handler.path).query).items()}
        )
        number = int(asked.get("token", 0))
        text = json.dumps(following).replace("URL", url).replace("TOKEN", str((number + 1) % period))
        handler.answer_json(
            page(item(number), following=json.loads(text.replace("NONCE", str(counts["asked"]))))
        )

    return reply, counts


@pytest.mark.parametrize("period", [1, 2, 5])
@pytest.mark.parametrize(
    "following",
    [
        {"href": "URL/search?token=TOKEN"},
        {"href": "URL/search?token=TOKEN&time=NONCE"},
        {"href": "/search?token=TOKEN"},
        {"href": "URL/search", "method": "POST", "body": {"token": "TOKEN"}, "merge": True},
        {"href": "URL/search", "method": "POST", "body": {"token": "TOKEN", "limit": "NONCE"}},
    ],
)
def test_an_api_whose_pages_come_again_is_given_up(period, following):
    reply, counts = api_in_a_circle(period, **following)
    with serving(reply) as url, pytest.raises(StorageError, match="never ends"):
        list(search_api(url, EncodeConfig(source=url, table="t", bundle="b")))
    assert counts["asked"] < 70


def test_an_empty_page_that_leads_on_ends_nothing(tmp_path):
    """Also where its link stays the same: a cursor on the server."""
    pages = [page(item(1)), page(), page(), page(item(2)), page(item(3))]
    asked = []

    def reply(handler) -> None:
        url = f"http://{handler.headers['Host']}"
        if not handler.path.startswith("/search"):
            handler.answer_json(landing(url, "GET"))
            return
        number = len(asked)
        asked.append(handler.path)
        fixed = {"href": f"{url}/search?cursor=x{number if number in (1, 2) else ''}"}
        handler.answer_json(
            pages[number]
            | (page(following=fixed) if number + 1 < len(pages) else {})
            | {"features": pages[number]["features"]}
        )

    with serving(reply) as url:
        rows = listed(LOCAL, tmp_path, url)
    assert set(rows) == {f"https://h.example/{number}.tif" for number in (1, 2, 3)}


@pytest.fixture
def no_files(tmp_path) -> Path:
    """A class of two images, and a pipe, a socket and a link to a device whose names end like images."""
    folder = tmp_path / "images" / "ice"
    folder.mkdir(parents=True)
    for name in ("a.tif", "b.tif"):
        (folder / name).write_bytes(b"x")
    os.mkfifo(folder / "pipe.tif")
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind(str(folder / "socket.tif"))
    (folder / "zero.tif").symlink_to("/dev/zero")
    return folder.parent


def test_what_is_no_regular_file_is_passed_over(no_files, tmp_path):
    rows = listed(LOCAL, tmp_path / "work", str(no_files))
    assert set(rows) == {f"{no_files}/ice/{name}.tif" for name in "ab"}
    assert passed_over(no_files, tmp_path / "work") == {"no_regular_file": 3}
    assert len(list(LOCAL.list(str(no_files / "ice"), recursive=False))) == 2
    for name in ("a.tif", "b.tif"):
        target = no_files / "sand" / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(b"x")
    assert len(read_labels(str(no_files), LOCAL).chips) == 4


@pytest.mark.parametrize("name", ["pipe", "socket", "zero"])
@pytest.mark.parametrize(
    "read",
    [
        lambda path: LOCAL.read(path),
        lambda path: LOCAL.open_version(path, "1", FOR_CHIPS),
        lambda path: LOCAL.read_with_etag(path),
        lambda path: LOCAL.arrow_filesystem(path),
        lambda path: read_bundle(str(Path(path).parent), LOCAL),
        lambda path: read_labels(path, LOCAL),
        lambda path: listed(LOCAL, Path(path).parent / "work", path),
        lambda path: listed(LOCAL, Path(path).parent / "work", str(Path(path).parent / "manifest.json")),
    ],
)
def test_what_is_no_regular_file_is_never_opened(no_files, name, read):
    for ending in (".csv", ".parquet"):
        link = no_files / f"list{ending}"
        link.symlink_to(no_files / "ice" / f"{name}.tif")
        (no_files / "manifest.json").unlink(missing_ok=True)
        (no_files / "manifest.json").symlink_to(no_files / "ice" / f"{name}.tif")
        with pytest.raises(
            ScenehashError, match="is a pipe, a socket or a device: only regular files are read"
        ):
            read(str(link))


def test_linked_folders_are_followed_and_circles_end(tmp_path):
    archive, elsewhere = tmp_path / "archive", tmp_path / "elsewhere"
    for name in ("own/a.tif", "own/deep/b.tif"):
        (archive / name).parent.mkdir(parents=True, exist_ok=True)
        (archive / name).write_bytes(b"x")
    (elsewhere / "sub").mkdir(parents=True)
    (elsewhere / "sub" / "c.tif").write_bytes(b"x")
    (archive / "z_link").symlink_to(elsewhere)
    (archive / "a_link").symlink_to(
        elsewhere / "sub"
    )  # the first in the order of names; then z_link finds it again
    (archive / "own" / "deep" / "circle").symlink_to(archive)
    (elsewhere / "back").symlink_to(archive / "own")
    (archive / "broken.tif").symlink_to("nowhere.tif")
    (archive / "itself").symlink_to("itself")
    (archive / "file.tif").symlink_to(archive / "own" / "a.tif")
    names = ("own/a.tif", "own/deep/b.tif", "a_link/c.tif", "file.tif")
    for _ in range(2):
        rows = listed(LOCAL, tmp_path / "work", str(archive))
        assert set(rows) == {f"{archive}/{name}" for name in names}
    assert passed_over(archive, tmp_path / "work") == {"listed_already": 3, "broken_link": 2}


def test_a_link_has_the_version_of_what_it_leads_to(tmp_path):
    (tmp_path / "real").write_bytes(b"1")
    (tmp_path / "x.tif").symlink_to("real")
    before = LOCAL.etag(str(tmp_path / "x.tif"))
    os.utime(tmp_path / "real", (1, 1))
    assert LOCAL.etag(str(tmp_path / "x.tif")) == "1.000000-1" != before


def test_times_of_files_out_of_range(tmp_path):
    (tmp_path / "x.tif").write_bytes(b"1")
    os.utime(tmp_path / "x.tif", (10**11 * 3, 10**11 * 3))
    if os.stat(tmp_path / "x.tif").st_mtime < 10**11:  # noqa: PTH116
        pytest.skip("this file system has no such times")
    (info,) = LOCAL.list(str(tmp_path))
    assert info.modified.year == 9999
