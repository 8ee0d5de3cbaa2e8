"""While one shard is a publication ahead of the other, each chip is still in one of them."""

import asyncio
from pathlib import Path

import httpx
import pytest

from pipelines.api.pictures import picture_version
from pipelines.serve.app import Ingress
from pipelines.serve.config import ServeConfig
from pipelines.serve.fanout import Shards
from pipelines.serve.picture_form import PictureForm
from pipelines.serve.shard import Shard
from pipelines.serve.shard_calls import LocalShard
from pipelines.storage.store import Store
from pipelines.table.row_ranges import RowRange
from tests.pipelines.serve.conftest import Archive, make_archive


@pytest.mark.parametrize("ahead", [0, 1])
def test_pictures_are_found_while_shards_swap_one_after_the_other(
    store: Store, tmp_path: Path, ahead: int
) -> None:
    archive = make_archive(store, f"swapped-{ahead}")
    ingress, shards = behind(archive, tmp_path, 2)
    assert statuses(ingress, archive) == {304}
    archive.publish(archive.versions[1])  # one more scene: the halves are others
    shards[ahead]._follower.look()
    assert statuses(ingress, archive) == {304}
    shards[1 - ahead]._follower.look()
    assert statuses(ingress, archive) == {304}


@pytest.mark.parametrize("parts", [1, 2])
def test_a_link_of_a_publication_that_another_replica_has_already(
    store: Store, tmp_path: Path, parts: int
) -> None:
    archive = make_archive(store, f"behind-{parts}")
    ingress, _ = behind(archive, tmp_path, parts)
    old, newer = archive.versions[:2]
    archive.publish(newer)
    known = set(archive.rows[old]["chip_id"].to_pylist())
    row = next(row for row in archive.rows[newer].to_pylist() if row["chip_id"] not in known)
    version = picture_version(row["etag"], row["cut"])
    assert status(ingress, f"{row['chip_id']}/thumbnail", version) == 404, "nobody says that there is more"
    assert status(ingress, f"{row['chip_id']}/thumbnail?version={version}", version) == 304


def behind(archive: Archive, folder: Path, parts: int) -> tuple[Ingress, list[Shard]]:
    """Return an ingress over so many shards in this process, which don't follow the pointer."""
    config = ServeConfig(
        table=archive.table, store=archive.store.config, open=True, index_folder=folder, poll_seconds=3600
    )
    ingress = Ingress(config, [], None, None)  # type: ignore[arg-type] - no picture is made
    shards = [Shard(config, RowRange(number, parts)) for number in range(parts)]
    ingress._shards = Shards([LocalShard(shard) for shard in shards])
    return ingress, shards


def statuses(ingress: Ingress, archive: Archive) -> set[int]:
    """Return the statuses of the pictures of all chips, asked by clients that have them."""
    rows = archive.rows[archive.versions[0]].to_pylist()
    versions = {row["chip_id"]: picture_version(row["etag"], row["cut"]) for row in rows}
    return {status(ingress, f"{chip_id}/thumbnail", version) for chip_id, version in versions.items()}


def status(ingress: Ingress, path: str, version: str) -> int:
    """Return the status of a picture, asked by a client that has one of a version."""

    async def ask() -> int:
        transport = httpx.ASGITransport(ingress.__serve_build_asgi_app__())
        async with httpx.AsyncClient(transport=transport, base_url="http://behind") as client:
            has = {"If-None-Match": PictureForm().tag(version)}
            return (await client.get(f"/v1/chips/{path}", headers=has)).status_code

    return asyncio.run(ask())
