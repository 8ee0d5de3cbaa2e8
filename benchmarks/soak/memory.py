"""Memory of the service's processes: how fast it grows, by least squares over the second half of a run."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import numpy as np
import psutil

from benchmarks.soak.background import in_background
from benchmarks.soak.nodes import Cluster

_EVERY_SECONDS = 3.0
_YOUNG_SECONDS = 180.0  # on a busy machine a process loads its libraries and first versions so long
_LEAST_SECONDS = 60.0  # of a process, for a slope
_TITLES = ("ServeReplica:scenehash:", "ServeController", "ProxyActor", "HAProxyManager")

Key = tuple[int, float]
"""A process: its id, and when it began."""
Sample = tuple[float, float]
"""When [seconds], and how much is resident [MB]."""


class Memory:
    """Samples the resident memory of the service's processes in a thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._samples: dict[Key, list[Sample]] = defaultdict(list)
        self.titles: dict[Key, str] = {}
        self._stop = threading.Event()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Sample while the context lasts."""
        with in_background("memory", self._run, self._stop):
            yield

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            now = time.time()
            for machine in self._cluster.machines():
                for process in machine.processes():
                    with suppress(psutil.Error):
                        self._take(process, now)

    def _take(self, process: psutil.Process, now: float) -> None:
        title = " ".join(process.cmdline()[:1])
        if any(name in title for name in _TITLES) or process.name() == "haproxy":
            key = process.pid, process.create_time()
            self.titles[key] = title.split(".")[0]
            self._samples[key].append((now, process.memory_info().rss / 1e6))

    def slopes(self) -> dict[str, float]:
        """Return the slope of each process that lived long enough, by its title and id [MB a minute]."""
        found = slopes(self._samples)
        return {f"{self.titles[key]} {key[0]}": round(slope, 2) for key, slope in found.items()}


def slopes(samples: Mapping[Key, Sequence[Sample]]) -> dict[Key, float]:
    """Return how fast the memory of processes grows, over the second half of the run [MB a minute].

    A process counts that lived for a minute of that, after its own first three.
    """
    times = [at for taken in samples.values() for at, _ in taken]
    if not times:
        return {}
    half = (min(times) + max(times)) / 2
    found = {}
    for key, taken in samples.items():
        chosen = np.array([each for each in taken if each[0] >= max(half, key[1] + _YOUNG_SECONDS)])
        if len(chosen) > 2 and chosen[-1, 0] - chosen[0, 0] >= _LEAST_SECONDS:
            found[key] = float(np.polyfit((chosen[:, 0] - chosen[0, 0]) / 60, chosen[:, 1], 1)[0])
    return found
