"""The Ray cluster that a job runs on."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import ray.data
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
        ray.init(logging_level=logging.WARNING, include_dashboard=False)  # 14 processes fewer
        gather_ray_logs()
        ray.data.DataContext.get_current().enable_progress_bars = False  # jobs show their own progress
    try:
        yield
    finally:
        if owns_ray:
            ray.shutdown()


def warn_if_short(cpus: float) -> None:
    """Log a warning if the cluster has fewer CPUs than a job needs at once: the job would wait silently."""
    has = ray.cluster_resources().get("CPU", 0)  # type: ignore[no-untyped-call]
    if has < cpus:
        log.warning("too few CPUs: the job waits until the cluster has more", has=has, needs=cpus)
