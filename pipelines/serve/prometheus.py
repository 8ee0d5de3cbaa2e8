"""The service's Prometheus metrics, exported by Ray. docs/operations/metrics.md lists them."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, get_args

from ray.util import metrics

from pipelines.errors import RejectReason
from pipelines.serve.follow import Refused
from pipelines.storage.store import Store
from pipelines.table.night_record import Outcome, find_night
from pipelines.table.pointer import Published

_logger = logging.getLogger("ray.serve")

_SECONDS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0]
_REFRESH_SECONDS = 2.0  # Ray exports a gauge once each time that it is set, and forgets it 20 s later


class Shown(Protocol):
    """What Ray is told of now and then."""

    def refresh(self) -> None:
        """Tell Ray."""


class LastingGauge:
    """Shows its values until it is given others, from `keep_shown`'s next turn on."""

    def __init__(self, name: str, description: str, tag_key: str | None = None) -> None:
        """Without a ``tag_key`` it has one value."""
        self._tag_key = tag_key
        self._gauge = metrics.Gauge(name, description, (tag_key,) if tag_key else ())
        self._values: Mapping[str, float] = {}

    def set(self, value: float) -> None:
        """Show one value, of a gauge without a tag."""
        self.set_all({"": value})

    def set_all(self, values: Mapping[str, float]) -> None:
        """Show these values, tag -> value, and no others; those that were shown before fade within 20 s."""
        self._values = dict(values)  # a new one: another thread reads the old meanwhile

    def refresh(self) -> None:
        """Tell Ray once more."""
        for tag, value in self._values.items():
            self._gauge.set(value, {self._tag_key: tag} if self._tag_key else {})


def keep_shown(metrics: Sequence[Shown]) -> None:
    """Refresh metrics for as long as the process lives, in a thread that waits for nothing else."""

    def refresh() -> None:
        while True:
            for each in metrics:
                each.refresh()
            time.sleep(_REFRESH_SECONDS)

    threading.Thread(target=refresh, name="gauges", daemon=True).start()


class SnapshotMetrics:
    """What a shard's replica serves."""

    def __init__(self, shard: int) -> None:
        self._shard = str(shard)
        self._version = LastingGauge("scenehash_snapshot_version", "Version of the table served", "shard")
        self._published = LastingGauge(
            "scenehash_snapshot_published_timestamp_seconds",
            "When what is served was published, in seconds since 1970",
            "shard",
        )
        self._refused = LastingGauge(
            "scenehash_snapshot_refused",
            "1 where the newest publication can't be loaded, and an older one is served",
            "shard",
        )
        keep_shown([self._version, self._published, self._refused])

    def show(self, published: Published, refused: Refused | None) -> None:
        """Show what is served, and whether something newer is refused."""
        self._version.set_all({self._shard: published.table_version})
        self._published.set_all({self._shard: published.published_at.timestamp()})
        self._refused.set_all({self._shard: int(refused is not None)})


class LastNightMetrics:
    """How the last night ended: its own process is gone, and what it showed with it."""

    def __init__(self, table_uri: str, store: Store) -> None:
        self._table_uri, self._store = table_uri, store
        self._ended = LastingGauge(
            "scenehash_night_ended_timestamp_seconds", "When the last night ended, in seconds since 1970"
        )
        self._outcome = LastingGauge(
            "scenehash_night_outcome", "1 for how the last night ended, 0 for the others", "outcome"
        )
        self._figures = LastingGauge("scenehash_night", "Figures of the last night's report", "figure")
        keep_shown([self._ended, self._outcome, self._figures])

    def show(self) -> None:
        """Show what the last night has put down; where that can't be read, go on showing what was."""
        try:
            night = find_night(self._table_uri, self._store)
        except Exception:  # the store may be down: that is no reason not to follow what is published
            _logger.exception("%s has no record of a night that can be read", self._table_uri)
            return
        if night is None:
            return
        self._ended.set(night.ended_at.timestamp())
        self._outcome.set_all({outcome: int(outcome == night.outcome) for outcome in get_args(Outcome)})
        no_rejects = {f"rejects/{reason}": 0.0 for reason in get_args(RejectReason)}
        self._figures.set_all(no_rejects | night.figures if night.figures else {})


class RequestMetrics:
    """What the ingress answers. Ray is told of it later, so that no answer waits for that."""

    def __init__(self) -> None:
        self._seconds = metrics.Histogram(
            "scenehash_request_seconds",
            "Seconds from a request's arrival to its answer, by route and status",
            boundaries=_SECONDS,
            tag_keys=("route", "status"),
        )
        self._refused = metrics.Counter(
            "scenehash_requests_refused",
            "Requests that got no answer, by the code of the error",
            tag_keys=("code",),
        )
        self._compared = metrics.Counter(
            "scenehash_codes_compared", "Codes compared with examples, by method", tag_keys=("method",)
        )
        self._ongoing = LastingGauge("scenehash_requests_ongoing", "Requests being worked on")
        self._untold: deque[Callable[[], None]] = deque()
        self.ongoing(0)
        keep_shown([self._ongoing, self])

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._untold.append(partial(self._seconds.observe, seconds, {"route": route, "status": str(status)}))

    def refused(self, code: str) -> None:
        """Count a request that got no answer."""
        self._untold.append(partial(self._refused.inc, 1, {"code": code}))

    def searched(self, method: str, codes_compared: int) -> None:
        """Count the codes that a search has compared."""
        if codes_compared:  # Ray refuses to add nothing
            self._untold.append(partial(self._compared.inc, codes_compared, {"method": method}))

    def ongoing(self, requests: int) -> None:
        """Show how many requests are being worked on."""
        self._ongoing.set(requests)

    def refresh(self) -> None:
        """Tell Ray what has been counted."""
        while self._untold:
            self._untold.popleft()()
