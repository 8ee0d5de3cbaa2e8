"""Pictures go through the network together, within the bounds of the options, once it is loaded."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import BundleError
from pipelines.serve import query_encoder
from pipelines.serve.config import ServeConfig
from pipelines.serve.query_network import Upload
from pipelines.serve.question import Encoded, EncoderInfo
from pipelines.table.pointer import publish
from tests.pipelines.serve.conftest import Archive, png


def config_of(archive: Archive, folder: Path, table: str | None = None) -> ServeConfig:
    return ServeConfig(
        table=table or archive.table,
        store=archive.store.config,
        open=True,
        index_folder=folder,
        poll_seconds=3600,
        encode_batch=4,
        encode_wait_ms=20,
    )


@pytest.fixture(name="bounds", autouse=True)
def bounds_fixture(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Ray Serve gathers batches only in a replica: its decorator is replaced by one that keeps the bounds."""
    bounds: dict[str, float] = {}

    def batch(**options: float) -> Callable[[Any], Any]:
        bounds.update(options)

        def of_one(encode: Any) -> Any:
            async def encode_one(upload: Upload | list[Upload]) -> Any:
                if isinstance(upload, list):
                    return await encode(upload)
                return (await encode([upload]))[0]

            return encode_one

        return of_one

    monkeypatch.setattr(query_encoder.serve, "batch", batch)
    return bounds


def test_options_bound_a_batch_and_a_batch_gives_each_picture_its_code(
    archive: Archive, tmp_path: Path, bounds: dict[str, float]
) -> None:
    encoder = query_encoder.Encoder(config_of(archive, tmp_path))
    assert bounds == {"max_batch_size": 4, "batch_wait_timeout_s": 0.02}
    model = encoder._loading.result(60).current
    uploads = [Upload(archive.pixels(row), model) for row in range(4)]
    answers = asyncio.run(encoder._encode_batch(uploads))
    assert [answer.code for answer in answers] == [archive.code(row).tobytes() for row in range(4)]


def test_a_picture_waits_for_the_network(archive: Archive, tmp_path: Path) -> None:
    """Searches are answered by then."""
    encoder = query_encoder.Encoder(config_of(archive, tmp_path))
    assert encoder.info() == EncoderInfo(None, "cpu")
    encoder.check_health()
    encoded = asyncio.run(encoder.encode(png(archive.pixels(3))))
    assert isinstance(encoded, Encoded)
    assert encoded.code == archive.code(3).tobytes()
    assert encoder.info().model_id == encoded.model_id == archive.published(archive.versions[0]).model_id


def test_a_network_that_cannot_be_loaded(archive: Archive, tmp_path: Path) -> None:
    """Serve asks `check_health`, and starts the replica anew."""
    table, published = f"{archive.root}/unusable", archive.published(archive.versions[0])
    broken = published.model_copy(update={"bundle_uri": f"{archive.root}/bundles/none"})
    publish(table, archive.store, broken, None)
    encoder = query_encoder.Encoder(config_of(archive, tmp_path, table))
    assert isinstance(encoder._loading.exception(60), BundleError)
    with pytest.raises(BundleError, match="no bundle at"):
        encoder.check_health()
