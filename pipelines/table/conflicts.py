"""Trying again after somebody else was quicker: with growing pauses, and not for ever."""

import random
import time

import structlog

from pipelines.errors import ConflictError

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0  # seconds, doubled each time
IN_A_ROW = 10
"""Conflicts that are met one after the other without anything done in between: a minute and a half."""


class Conflicts:
    """The conflicts that one job has met in a row."""

    def __init__(self, most: int = IN_A_ROW) -> None:
        """``most`` of them end the job."""
        self._most, self._met = most, 0

    def wait(self, conflict: ConflictError, advice: str) -> None:
        """Pause before the work is planned again. Raises ConflictError, with advice, where that is no use."""
        self._met += 1
        if self._met >= self._most:
            raise ConflictError(f"{conflict}; tried {self._met} times: {advice}") from conflict
        pause = min(FIRST_PAUSE * 2 ** (self._met - 1), LONGEST_PAUSE)
        log.warning("planning again", reason=str(conflict), conflicts=self._met)
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - so that two don't meet again at once

    def over(self) -> None:
        """Begin to count anew: something has been done."""
        self._met = 0
