"""The Ray cluster that a job runs on."""

import logging

import ray
import ray.data


def connect() -> None:
    """Connect to the cluster named by RAY_ADDRESS or running here; else start Ray on this machine."""
    if not ray.is_initialized():
        ray.init(logging_level=logging.WARNING)
        progress = ray.data.DataContext.get_current()
        progress.enable_rich_progress_bars, progress.use_ray_tqdm = True, False
