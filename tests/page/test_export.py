"""Exports of more than one page: each holds every chip of the answer, in its order."""

import json
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from tests.pipelines.serve.conftest import Archive

CHIPS_A_PAGE = 20
# 10,000 chips are a page; a request for fewer is as good, and the archive then has several pages
SMALL_PAGES = f"""
const whole = window.fetch;
window.fetch = async (request, options) => {{
  if (request.method !== 'POST' || !request.url.endsWith('/v1/search')) return whole(request, options);
  const body = (await request.clone().text()).replace(/"limit":\\d+/, '"limit":{CHIPS_A_PAGE}');
  return whole(new Request(request, {{ body }}), options);
}};
"""
_NOTE_PROGRESS = """
window.progress = [];
new MutationObserver(() => {
  const now = document.querySelector('dialog progress')?.value;
  if (now !== undefined && now !== window.progress.at(-1)) window.progress.push(now);
}).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
"""


@pytest.mark.parametrize("kind", ["GeoJSON", "GeoParquet", "CSV"])
def test_all_pages(archive: Archive, http: httpx.Client, visit, tmp_path: Path, kind: str) -> None:
    example, cutoff = archive.ids()[5], 30
    body = {"chip_ids": [example], "max_distance": cutoff, "limit": 1000}
    answer = http.post("/v1/search", json=body).json()["features"]
    wanted = [(each["id"], each["properties"]["distance"]) for each in answer]
    pages = -(-len(wanted) // CHIPS_A_PAGE)
    assert pages > 2
    visitor = visit(accept_downloads=True)
    visitor.page.add_init_script(SMALL_PAGES)
    downloads: list[Any] = []
    visitor.page.on("download", lambda download: downloads.append(download))
    visitor.open(f"#for={example}&cutoff={cutoff}")
    visitor.page.wait_for_selector(".card")
    visitor.page.keyboard.press("e")
    visitor.page.wait_for_selector(f"dialog[open] >> text=All {len(wanted)} chips")
    assert "more than 10,000 chips, GeoParquet is saved as numbered files" in visitor.page.inner_text(
        "dialog[open]"
    )
    visitor.page.evaluate(_NOTE_PROGRESS)
    visitor.page.click(f"dialog[open] >> button:has-text('{kind}')")
    visitor.page.wait_for_selector("dialog[open] .notice.on")
    said = visitor.page.inner_text("dialog[open] .notice")
    files = pages if kind == "GeoParquet" else 1
    numbered = f" in {files} numbered files" if files > 1 else ""
    assert said == f"Exported {len(wanted)} chips{numbered}."
    steps = [CHIPS_A_PAGE * page for page in range(1, pages)]
    assert set(steps) <= set(visitor.page.evaluate("window.progress"))
    assert len(downloads) == files
    contents = []
    for download in downloads:
        download.save_as(tmp_path / download.suggested_filename)
        contents.append(tmp_path / download.suggested_filename)
    if kind == "GeoParquet":
        assert [path.name for path in contents] == [
            f"scenehash-{number}.parquet" for number in range(1, files + 1)
        ]
        assert all(b"geo" in pq.read_schema(path).metadata for path in contents)
        columns = pq.read_table(tmp_path, columns=["id", "distance"]).to_pylist()
        exported = [(row["id"], row["distance"]) for row in columns]
    elif kind == "GeoJSON":
        features = json.loads(contents[0].read_text())["features"]
        exported = [(each["id"], each["properties"]["distance"]) for each in features]
    else:
        lines = [line.split(",") for line in contents[0].read_text().splitlines()[1:]]
        exported = [(chip_id, float(distance)) for _, chip_id, distance, *_ in lines]
    assert exported == wanted
