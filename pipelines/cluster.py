"""The Ray cluster that a job runs on."""

import logging

import ray


def connect() -> None:
    """Connect to the cluster named by RAY_ADDRESS or running here; else start Ray on this machine."""
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
        logging.getLogger("ray.data").setLevel(logging.WARNING)
