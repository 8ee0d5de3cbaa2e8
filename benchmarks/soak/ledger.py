"""What the soak has counted: requests, deaths, and each harm with its details, which also go into a file.

A lost answer is one that never came: the connection failed, or a proxy answered for a service that didn't.
It is explained by a death only for a time that is stated here; a moment later it counts as a harm.
"""

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HARMS = (
    "wrong_answers",
    "lost_rows",
    "doubled_rows",
    "lost_hits",
    "doubled_hits",
    "unexplained_errors",
    "files_left",
)
"""What is counted, and must be zero."""
LOST_SECONDS = {"proxy": 20.0, "ingress": 5.0, "node": 5.0}
"""For so long after a death answers may be lost, by what died [seconds].

Without a proxy nobody listens. The death of an ingress replica, or of the node that it is on, takes the
answers with it that it was working on: the client asks again, as the client library does, and then it must
be answered.
"""


@dataclass
class Ledger:
    """Counts, and writes what happens into a file: a line of JSON each. Threads share it."""

    path: Path
    started: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)
    """Harms, by name."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """How requests ended, by a word."""
    deaths: list[tuple[str, float]] = field(default_factory=list)
    """What has died, and when [seconds of the monotonic clock]."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, event: str, **details: Any) -> None:  # noqa: ANN401 - whatever JSON holds
        """Write a line into the file."""
        line = {"at": round(time.monotonic() - self.started, 2), "event": event} | details
        with self._lock, self.path.open("a") as file:
            file.write(json.dumps(line, default=str) + "\n")

    def harm(self, kind: str, count: int = 1, **details: Any) -> None:  # noqa: ANN401
        """Count a harm, one of `HARMS`, and keep its details."""
        if kind not in HARMS:
            raise ValueError(f"{kind} is none of {', '.join(HARMS)}")
        with self._lock:
            self.counts[kind] += count
        self.note(kind, count=count, **details)

    def ended(self, outcome: str) -> None:
        """Count a request by how it ended."""
        with self._lock:
            self.outcomes[outcome] += 1

    def died(self, kind: str, **details: Any) -> None:  # noqa: ANN401
        """Count a death that has just happened."""
        with self._lock:
            self.deaths.append((kind, time.monotonic()))
        self.note("death", kind=kind, **details)

    def explains_loss(self, sent: float, lost: float, *, for_good: bool = False) -> bool:
        """Return whether a death explains an answer that was lost.

        ``sent``, ``lost``: when it was asked, and when it was clear that there is no answer [seconds of the
        monotonic clock]. ``for_good``: asked again, it was lost again; only a dead proxy explains that.
        """
        with self._lock:
            deaths = list(self.deaths)
        kinds = {"proxy"} if for_good else set(LOST_SECONDS)
        return any(kind in kinds and sent <= at + LOST_SECONDS[kind] and at <= lost for kind, at in deaths)

    def requests(self) -> int:
        """Return how many requests were made."""
        return self.outcomes.total()

    def is_clean(self) -> bool:
        """Return whether there was no harm."""
        return not any(self.counts.values())

    def summary(self, minutes: float, slope: float | None) -> dict[str, float | int | None]:
        """Return the figures. ``slope``: of memory [MB a minute], None if it couldn't be measured."""
        return {
            "minutes": minutes,
            "requests": self.requests(),
            "deaths": len(self.deaths),
            **{kind: self.counts[kind] for kind in HARMS},
            "rss_slope_mb_a_minute": slope,
        }
