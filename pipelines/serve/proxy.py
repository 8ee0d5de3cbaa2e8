"""What takes requests in on each node: HAProxy, which comes with Ray, in place of Serve's proxy in Python.

An answer then takes half the time or less. Source: Ray Serve, ``ray/serve/_private/constants.py``
(RAY_SERVE_ENABLE_HA_PROXY and RAY_SERVE_HAPROXY_*), which the processes of a cluster read as they start.
"""

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory


@contextmanager
def haproxy() -> Iterator[None]:
    """Let a Ray cluster that is started meanwhile have it; what the environment says already, stands.

    Its files lie in a folder that is this user's alone, as its socket obeys whoever reaches it; and its ports
    for statistics are free ones, as several services may run on a machine. Replicas listen on ports of all
    addresses then, so an API without keys shouldn't have it.
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
            "DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",  # no balancer but this one has to hear of the end
        }
        before = dict(os.environ)
        os.environ |= {f"RAY_SERVE_{name}": value for name, value in ours.items()} | before
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _free_port() -> int:
    while True:
        # below those that outgoing connections get: one of them might have it before the proxy has
        port = random.randrange(20_000, 30_000)  # noqa: S311
        with socket.socket() as found, suppress(OSError):
            found.bind(("", port))
            return port
