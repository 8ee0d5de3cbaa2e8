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
from pipelines.serve.follow import RefusedPublication
from pipelines.storage.store import Store
from pipelines.table.night_record import Outcome, find_night
from pipelines.table.pointer import Published

_logger = logging.getLogger("ray.serve")

_SECONDS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0]
_REFRESH_SECONDS = 2.0  # Ray exports a gauge only after it is set, and drops it 20 s later


class Refreshable(Protocol):
    """A metric that must be sent to Ray regularly."""

    def refresh(self) -> None:
        """Send the present values to Ray."""


class LastingGauge:
    """A gauge that keeps its values until it gets others. `keep_refreshed` sends them to Ray."""

    def __init__(self, name: str, description: str, tag_key: str | None = None) -> None:
        """Make a gauge with one value for each tag or, without a ``tag_key``, with a single value."""
        self._tag_key = tag_key
        self._gauge = metrics.Gauge(name, description, (tag_key,) if tag_key else ())
        self._values: Mapping[str, float] = {}

    def set(self, value: float) -> None:
        """Set the value of a gauge without tags."""
        self.set_all({"": value})

    def set_all(self, values: Mapping[str, float]) -> None:
        """Set the values, tag -> value. Tags that aren't among them disappear within 20 s."""
        self._values = dict(values)  # a new dict, because another thread may be reading the old one

    def refresh(self) -> None:
        """Send the present values to Ray."""
        for tag, value in self._values.items():
            self._gauge.set(value, {self._tag_key: tag} if self._tag_key else {})


def keep_refreshed(metrics: Sequence[Refreshable]) -> None:
    """Refresh metrics in a thread of their own, as long as the process lives."""

    def refresh() -> None:
        while True:
            for each in metrics:
                each.refresh()
            time.sleep(_REFRESH_SECONDS)

    threading.Thread(target=refresh, name="gauges", daemon=True).start()


class SnapshotMetrics:
    """Which version a shard's replica serves."""

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
        keep_refreshed([self._version, self._published, self._refused])

    def show(self, published: Published, refused: RefusedPublication | None) -> None:
        """Set what is served, and whether a newer publication is refused."""
        self._version.set_all({self._shard: published.table_version})
        self._published.set_all({self._shard: published.published_at.timestamp()})
        self._refused.set_all({self._shard: int(refused is not None)})


class LastNightMetrics:
    """How the last night ended. The service shows it, because the night's own process is gone by then."""

    def __init__(self, table_uri: str, store: Store) -> None:
        self._table_uri, self._store = table_uri, store
        self._ended = LastingGauge(
            "scenehash_night_ended_timestamp_seconds", "When the last night ended, in seconds since 1970"
        )
        self._outcome = LastingGauge(
            "scenehash_night_outcome", "1 for how the last night ended, 0 for the others", "outcome"
        )
        self._figures = LastingGauge("scenehash_night", "Figures of the last night's report", "figure")
        keep_refreshed([self._ended, self._outcome, self._figures])

    def show(self) -> None:
        """Read the last night's record and show it. If it can't be read, the old values stay."""
        try:
            night = find_night(self._table_uri, self._store)
        except Exception:  # the store may be down; the follower must go on
            _logger.exception("the last night's record of %s can't be read", self._table_uri)
            return
        if night is None:
            return
        self._ended.set(night.ended_at.timestamp())
        self._outcome.set_all({outcome: int(outcome == night.outcome) for outcome in get_args(Outcome)})
        no_rejects = {f"rejects/{reason}": 0.0 for reason in get_args(RejectReason)}
        self._figures.set_all(no_rejects | night.figures if night.figures else {})


class RequestMetrics:
    """Counts the ingress's requests. The counts go to Ray later, so that no answer waits for Ray."""

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
        self._pending: deque[Callable[[], None]] = deque()
        self.ongoing(0)
        keep_refreshed([self._ongoing, self])

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request, and the seconds it took."""
        self._pending.append(partial(self._seconds.observe, seconds, {"route": route, "status": str(status)}))

    def refused(self, code: str) -> None:
        """Count a request that got no answer."""
        self._pending.append(partial(self._refused.inc, 1, {"code": code}))

    def searched(self, method: str, codes_compared: int) -> None:
        """Count the codes that a search has compared."""
        if codes_compared:  # Ray refuses an increment of 0
            self._pending.append(partial(self._compared.inc, codes_compared, {"method": method}))

    def ongoing(self, requests: int) -> None:
        """Set how many requests are being worked on."""
        self._ongoing.set(requests)

    def refresh(self) -> None:
        """Send to Ray what has been counted since the last time."""
        while self._pending:
            self._pending.popleft()()
