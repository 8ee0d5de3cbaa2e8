"""Pictures that arrive together go through the network together, within the bounds of the options."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.serve import query_encoder
from pipelines.serve.config import ServeConfig
from pipelines.serve.query_network import Upload
from tests.pipelines.serve.conftest import Archive


def test_options_bound_a_batch_and_a_batch_gives_each_picture_its_code(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray Serve gathers batches only in a replica: its decorator is replaced by one that keeps the bounds."""
    bounds: dict[str, float] = {}

    def batch(**options: float) -> Callable[[Any], Any]:
        bounds.update(options)
        return lambda function: function

    monkeypatch.setattr(query_encoder.serve, "batch", batch)
    config = ServeConfig(
        table=archive.table,
        store=archive.store.config,
        open=True,
        index_folder=tmp_path,
        poll_seconds=3600,
        encode_batch=4,
        encode_wait_ms=20,
    )
    encoder = query_encoder.Encoder(config)
    assert bounds == {"max_batch_size": 4, "batch_wait_timeout_s": 0.02}

    model = encoder._follower.current
    uploads = [Upload(archive.pixels(row), model) for row in range(4)]
    answers = asyncio.run(encoder._encode_batch(uploads))
    assert [answer.code for answer in answers] == [archive.code(row).tobytes() for row in range(4)]
