"""The Ray cluster that a job runs on."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import structlog

from pipelines.runtime.logs import gather_ray_logs

log = structlog.get_logger()

_KEEP_WORKERS = "RAY_idle_worker_killing_time_threshold_ms", "600000"
"""Ray ends a worker that has had no task for a second, and the next task starts another one, which imports
all anew: a night whose encoders are slower than its reading tasks would start hundreds."""


@contextmanager
def connected() -> Iterator[None]:
    """Connect to the cluster of RAY_ADDRESS, or to one that runs here; else start one here temporarily."""
    owns_ray = not ray.is_initialized()
    if owns_ray:
        os.environ.setdefault(*_KEEP_WORKERS)
        start_ray()
        gather_ray_logs()
    try:
        yield
    finally:
        if owns_ray:
            ray.shutdown()


def start_ray(address: str | None = None, cpus: int | None = None, *, log_to_driver: bool = True) -> None:
    """Call `ray.init`, which these are arguments of, and let SIGTERM do what it did before.

    Ray's own handler ends the process at once: whatever it had started would go on. There is no dashboard:
    that would be 14 processes more.
    """
    handler = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
    ray.init(
        address,
        num_cpus=cpus,
        log_to_driver=log_to_driver,
        logging_level=logging.WARNING,
        include_dashboard=False,
    )
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def warn_if_short(cpus: float) -> None:
    """Log a warning if the cluster has fewer CPUs than a job needs at once: the job would wait silently."""
    has = ray.cluster_resources().get("CPU", 0)  # type: ignore[no-untyped-call]
    if has < cpus:
        log.warning("too few CPUs: the job waits until the cluster has more", has=has, needs=cpus)
