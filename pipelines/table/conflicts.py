"""Another job has committed first: the work is planned again, after growing pauses, and not for ever."""

import random
import time

import structlog

from pipelines.errors import ConflictError

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0  # seconds, doubled each time
IN_A_ROW = 10
"""Conflicts in a row, with nothing done in between, that end a job: after about a minute and a half."""


class Conflicts:
    """Counts the conflicts that one job meets in a row."""

    def __init__(self, most: int = IN_A_ROW) -> None:
        """``most`` conflicts in a row end the job."""
        self._most, self._met = most, 0

    def wait(self, conflict: ConflictError, advice: str) -> None:
        """Pause before the work is planned again. Raises ConflictError, with advice, after too many."""
        self._met += 1
        if self._met >= self._most:
            raise ConflictError(f"{conflict}; tried {self._met} times: {advice}") from conflict
        pause = min(FIRST_PAUSE * 2 ** (self._met - 1), LONGEST_PAUSE)
        log.warning("planning again", reason=str(conflict), conflicts=self._met)
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - two jobs shall not meet again at once

    def reset(self) -> None:
        """Start the count again at 0, as some work was committed."""
        self._met = 0
