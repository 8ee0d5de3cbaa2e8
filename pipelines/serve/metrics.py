"""The service's Prometheus metrics, exported by Ray. docs/operations/metrics.md lists them."""

import time

from ray.util import metrics

from pipelines.pointer import Published
from pipelines.serve.follow import Refused

_SECONDS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0]


class SnapshotMetrics:
    """What a shard's replica serves."""

    def __init__(self, shard: int) -> None:
        tags = ("shard",)
        self._shard = {"shard": str(shard)}
        self._version = metrics.Gauge(
            "scenehash_snapshot_version", "Version of the table served", tag_keys=tags
        )
        self._age = metrics.Gauge(
            "scenehash_snapshot_age_seconds", "Seconds since what is served was published", tag_keys=tags
        )
        self._refused = metrics.Gauge(
            "scenehash_snapshot_refused",
            "1 where the newest publication can't be loaded, and an older one is served",
            tag_keys=tags,
        )

    def show(self, published: Published, refused: Refused | None) -> None:
        """Show what is served, and whether something newer is refused."""
        self._version.set(published.table_version, self._shard)
        self._age.set(max(0.0, time.time() - published.published_at.timestamp()), self._shard)
        self._refused.set(int(refused is not None), self._shard)


class RequestMetrics:
    """What the ingress answers."""

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
        self._ongoing = metrics.Gauge("scenehash_requests_ongoing", "Requests being worked on")

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._seconds.observe(seconds, {"route": route, "status": str(status)})

    def refused(self, code: str) -> None:
        """Count a request that got no answer."""
        self._refused.inc(1, {"code": code})

    def searched(self, method: str, codes_compared: int) -> None:
        """Count the codes that a search has compared."""
        if codes_compared:  # Ray refuses to add nothing
            self._compared.inc(codes_compared, {"method": method})

    def ongoing(self, requests: int) -> None:
        """Show how many requests are being worked on."""
        self._ongoing.set(requests)
