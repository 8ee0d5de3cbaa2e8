"""What refuses a service before anything slow begins."""

import os
import socket
import subprocess
import sys

import pytest

from pipelines.errors import ConfigError
from pipelines.serve.config import ServeConfig
from pipelines.serve.proxy import SETTINGS, haproxy, settings
from pipelines.serve.start_checks import check_port, check_published


@pytest.fixture
def taken(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("pipelines.serve.start_checks._RUNNING_CLUSTER", tmp_path / "none")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_taken_port_is_one_line(taken, monkeypatch):
    config = ServeConfig(table="t", open=True, port=taken)
    with pytest.raises(
        ConfigError, match=rf"127\.0\.0\.1:{taken} can't be listened on .*in use.*; try --port"
    ):
        check_port(config)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    check_port(config)  # a cluster's own Serve may listen there


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no base map at .*map.pmtiles"),
        (b"SQLite format 3", r"map.pmtiles isn't a PMTiles archive"),
    ],
)
def test_a_base_map_that_is_none(archive, content, message):
    uri = f"{archive.root}/{'none' if content is None else 'other'}/map.pmtiles"
    if content is not None:
        archive.store.write(uri, content)
    config = ServeConfig(table=archive.table, store=archive.store.config, open=True, base_map=uri)
    with pytest.raises(ConfigError, match=message):
        check_published(config)


def test_a_port_of_another_clusters_service_is_not_shared(archive):
    """Its proxies listen so that others may too: each would get a part of this service's requests."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        flags = [f"--table={archive.table}", f"--store.endpoint={archive.store.config.endpoint}", "--open"]
        command = [sys.executable, "-m", "jobs.serve", *flags, f"--port={port}"]
        own_cluster = os.environ | {"RAY_ADDRESS": "local"}
        done = subprocess.run(
            command, env=own_cluster, capture_output=True, text=True, check=False, timeout=120
        )
    assert done.returncode != 0
    assert f"127.0.0.1:{port} can't be listened on" in done.stderr


@pytest.mark.server
def test_ray_reads_our_settings(monkeypatch):
    """Ray's own constants say so, in a process that is started as a cluster's are."""
    for name in SETTINGS:  # a service that other tests share may have set it
        monkeypatch.delenv(f"RAY_SERVE_{name}", raising=False)
    names = (
        "PROXY_READY_CHECK_TIMEOUT_S",
        "PROXY_HEALTH_CHECK_PERIOD_S",
        "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD",
    )
    ask = f"from ray.serve._private.constants import {', '.join(names)}; print({', '.join(names)})"
    for context in (settings, haproxy):
        with context():
            done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["60.0", "2.0", "False"]
        assert not {f"RAY_SERVE_{name}" for name in SETTINGS} & set(os.environ)


@pytest.mark.server
def test_nothing_slow_is_imported_before_the_refusal():
    check = "import sys, pipelines.serve.start_checks; print({'ray', 'torch', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
