"""Starts the query service on a Ray cluster, or on one of its own, and stops it."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import httpx
import structlog
from ray import serve
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from ray.serve.schema import LoggingConfig

from pipelines.errors import ConfigError, UserError
from pipelines.runtime.cluster import connected
from pipelines.serve.config import ServeConfig
from pipelines.serve.proxy import haproxy, settings
from pipelines.serve.start_checks import check_free, check_published

_APP = "scenehash"
_READY_SECONDS = 60
_FREE_SECONDS = 10.0

_log = structlog.get_logger()


def run_serve(config: ServeConfig) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises TableError if nothing is published, BundleError if the bundle is missing, ConfigError if the
    address can't be listened on, and UserError if Serve's proxy doesn't start in time.
    """
    with serving(config) as url:
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        _log.info("serving", url=url, table=config.table)
        stop.wait()
        _log.info("stopping", url=url)


@contextmanager
def serving(config: ServeConfig) -> Iterator[str]:
    """Run the service, and yield its URL once it is ready. Raises what `run_serve` raises.

    Joins the Ray cluster that ``RAY_ADDRESS`` names, or starts one. At the end it stops only what it started.
    """
    check_published(config)
    # a second of a processor, while Ray's own processes start
    threading.Thread(target=import_module, args=["pipelines.serve.deployments"]).start()
    with settings() if config.open else haproxy(), connected():
        from pipelines.serve.deployments import LOGS, build_app

        owns_serve = not serve.status().proxies
        if owns_serve:
            _wait_until_free(config)
        try:
            _listen(config, LOGS)
            serve.run(build_app(config), name=_APP)
            host = "127.0.0.1" if config.host == "0.0.0.0" else config.host  # noqa: S104 - compared, not bound
            url = f"http://{host}:{config.port}"
            _wait_until_ready(url)
            yield url
        finally:
            if owns_serve:
                serve.shutdown()  # type: ignore[no-untyped-call]
            else:
                serve.delete(_APP)


def _wait_until_free(config: ServeConfig) -> None:
    """Raise ConfigError unless the address is free: a Serve that was just shut down keeps it for seconds."""
    deadline = time.monotonic() + _FREE_SECONDS
    while True:
        try:
            return check_free(config)
        except ConfigError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _listen(config: ServeConfig, logs: LoggingConfig) -> None:
    """Start Serve's proxy, unless the cluster has one.

    Raises ConfigError if the address isn't free, UserError if the proxy doesn't start in time.
    """
    try:
        serve.start(http_options={"host": config.host, "port": config.port}, logging_config=logs)
    except RayTaskError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ConfigError(
            f"{config.host}:{config.port} can't be listened on ({reason}); try --port"
        ) from error
    except (RayActorError, GetTimeoutError) as error:
        raise UserError(
            "Ray Serve's proxy didn't start within a minute; is this machine busy with something else? "
            "Start the service again"
        ) from error


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise ConfigError(
        f"{url}/readyz doesn't answer; is the port taken, or does this cluster's Serve listen on another one?"
    )
