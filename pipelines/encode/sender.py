"""Sends batches of chips to encoders, from within a reading task, and sends them again if one is lost.

Shapes: N chips, H x W pixels, C bands.
"""

import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayActorError

from pipelines.encode.encoding import BATCHES_AHEAD, Coded

_AVOIDED = 10.0  # seconds for which an encoder that was lost comes last
_PAUSE = 1.0  # seconds before a batch is sent again
_PATIENCE = 1800.0  # seconds without any encoder that end a task: new nodes may be long in coming


class Sender:
    """Knows which encoder has the fewest batches of this task."""

    def __init__(self, encoders: list[Any]) -> None:
        """Begin with no batch; ``encoders`` are handles of actors of `Encoder`."""
        self._encoders = encoders
        self._sent = [0] * len(encoders)
        self._lost_at = [float("-inf")] * len(encoders)
        self._choosing = threading.Lock()
        # in threads of its own: a task that waits in its main thread gives its CPU to other tasks meanwhile
        self._threads = ThreadPoolExecutor(BATCHES_AHEAD + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=error is None, cancel_futures=True)

    def send(self, chips_NHWC: NDArray[np.uint8]) -> Future[Coded]:
        """Send a batch of chips; the result are its codes."""
        return self._threads.submit(self._encoded, chips_NHWC)

    def _encoded(self, chips_NHWC: NDArray[np.uint8]) -> Coded:
        deadline = time.monotonic() + _PATIENCE
        while True:
            number = self._choose()
            try:
                coded: Coded = ray.get(self._encoders[number].encode.remote(chips_NHWC))
            except RayActorError:
                self._lost_at[number] = time.monotonic()
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE)
            else:
                return coded
            finally:
                with self._choosing:
                    self._sent[number] -= 1

    def _choose(self) -> int:
        with self._choosing:
            avoid_after = time.monotonic() - _AVOIDED
            number = min(
                range(len(self._encoders)),
                key=lambda each: (self._lost_at[each] > avoid_after, self._sent[each], random.random()),  # noqa: S311
            )
            self._sent[number] += 1
        return number
