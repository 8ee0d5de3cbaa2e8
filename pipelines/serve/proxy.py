"""How Ray Serve is set, by variables that the processes of a cluster read as they start.

With HAProxy, which comes with Ray, on each node in place of Serve's own proxy in Python, an answer takes half
the time or less. Source of all names: Ray Serve, ``ray/serve/_private/constants.py``, with RAY_SERVE_ before
each.
"""

import os
import random
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory

SETTINGS = {
    # 5 by default: on a busy machine Serve kills a proxy three times and gives up
    "PROXY_READY_CHECK_TIMEOUT_S": "60",
    # 10 by default: a proxy that has failed three checks is replaced
    "PROXY_HEALTH_CHECK_PERIOD_S": "2",
    # 1 by default: each request then goes from one thread of a replica to another and back. Whatever takes
    # longer than a millisecond has threads of its own here
    "RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
}
"""What a service of ours needs, with and without HAProxy."""


@contextmanager
def haproxy() -> Iterator[None]:
    """Set the environment so that a Ray cluster started in this context uses HAProxy.

    Variables that are set already keep their values. HAProxy's files lie in a folder that only this user can
    read, because its socket obeys everybody who can reach it. Its ports for statistics are free ones, because
    several services may run on one machine. With HAProxy, replicas listen on all addresses of the machine, so
    don't use it for an API without keys.
    """
    with TemporaryDirectory(prefix="haproxy-") as folder:
        ours = {
            "ENABLE_HA_PROXY": "1",
            "HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
            "HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
            "HAPROXY_METRICS_SOCKET_PATH": f"{folder}/metrics.sock",
            "HAPROXY_SERVER_STATE_BASE": folder,
            "HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
            "HAPROXY_STATS_PORT": str(_free_port()),
            "HAPROXY_METRICS_PORT": str(_free_port()),
            "DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",  # no other load balancer needs time to notice
        }
        with settings(), _environment(ours):
            yield


@contextmanager
def settings() -> Iterator[None]:
    """Set `SETTINGS` for a Ray cluster that is started in this context."""
    with _environment(SETTINGS):
        yield


@contextmanager
def _environment(ours: Mapping[str, str]) -> Iterator[None]:
    """Set variables of Ray Serve, but those that are set already."""
    before = dict(os.environ)
    os.environ |= {f"RAY_SERVE_{name}": value for name, value in ours.items()} | before
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _free_port() -> int:
    while True:
        # below the ports of outgoing connections: one of those could take it before the proxy does
        port = random.randrange(20_000, 30_000)  # noqa: S311
        with socket.socket() as candidate, suppress(OSError):
            candidate.bind(("", port))
            return port
