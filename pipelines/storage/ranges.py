"""One version of an object, read in pieces: none is asked for twice, and neighbours are asked for together.

A range is (start, stop) [bytes]; stop isn't part of it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

Range = tuple[int, int]

_NEIGHBOURS = 32 << 10  # bytes between two ranges that are read along, as another request takes longer
_LEAST = 64 << 10  # bytes: who reads a little of a header soon reads what stands beside it
_STREAMS = 16  # places that an object is read from one after the other: a band may be in a part of its own


@dataclass(frozen=True)
class Reading:
    """How an object is read: whole, or in pieces."""

    first: int
    """The first request asks for so many bytes."""
    whole: int
    """Objects of at most so many bytes are read whole."""
    keep: int
    """Bytes of pieces that stay in memory, besides the first one."""
    ahead: int
    """Whoever reads on from where a piece ended gets a piece twice as large, up to so many bytes."""


FOR_CHIPS = Reading(first=4 << 20, whole=16 << 20, keep=32 << 20, ahead=8 << 20)
"""For all chips of an object. `benchmarks.reading` measures the limit; docs/architecture.md has figures."""
FOR_PICTURES = Reading(first=64 << 10, whole=64 << 10, keep=8 << 20, ahead=0)
"""For a few chips of an object: its header, then the blocks that they touch."""


@dataclass(frozen=True)
class Piece:
    """A range of an object as a store has sent it."""

    start: int
    content: bytes
    etag: str
    """Of the whole object."""
    size: int
    """Of the whole object [bytes]."""

    def part(self, wanted: Range) -> bytes | None:
        """Return a range's content, None if this piece doesn't have all of it."""
        start, stop = (place - self.start for place in wanted)
        return self.content[start:stop] if start >= 0 and stop <= len(self.content) else None


class ObjectRanges:
    """An object of a store, of which any ranges can be read. Threads may share it.

    All pieces are of one version of the object. Ranges that another thread is fetching are waited for.
    """

    def __init__(
        self, uri: str, first: Piece, fetch: Callable[[Sequence[Range]], list[Piece]], reading: Reading
    ) -> None:
        """``first`` is the object's beginning, which stays in memory; ``fetch`` reads other pieces of it."""
        self.uri, self.etag, self.size = uri, first.etag, first.size
        self.bytes_read, self.requests = len(first.content), 1
        self._first, self._fetch, self._reading = first, fetch, reading
        self._lock = threading.Lock()
        self._kept: OrderedDict[Range, Piece] = OrderedDict()  # least recently used first
        self._coming: dict[Range, Future[Piece]] = {}
        self._streams: OrderedDict[int, int] = OrderedDict()  # where a piece ended: how large it was [bytes]

    @property
    def held_bytes(self) -> int:
        """Return how much content is in memory."""
        with self._lock:
            return len(self._first.content) + sum(len(piece.content) for piece in self._kept.values())

    def read(self, wanted: Sequence[Range]) -> list[bytes]:
        """Return the content of ranges; shorter where the object ends.

        Raises FileNotFoundError, ReplacedError, StorageError: what reading the object may raise.
        """
        within = [(min(start, self.size), min(stop, self.size)) for start, stop in wanted]
        with self._lock:
            found = {each: self._find(each) for each in within}
            missing = [each for each, content in found.items() if content is None]
            runs = self._runs(missing)
            fresh = {run: Future[Piece]() for run in runs}
            waited = dict(self._coming)
            self._coming |= fresh
        if fresh:
            self._bring(fresh)
        for each in missing:
            run = next(run for run in (*waited, *fresh) if run[0] <= each[0] and each[1] <= run[1])
            found[each] = (waited.get(run) or fresh[run]).result().part(each)
        return [found[each] or b"" for each in within]

    def _find(self, wanted: Range) -> bytes | None:
        """Return a range's content if it is in memory."""
        if (content := self._first.part(wanted)) is not None:
            return content
        for run, piece in self._kept.items():
            if (content := piece.part(wanted)) is not None:
                self._kept.move_to_end(run)
                return content
        return None

    def _runs(self, missing: Sequence[Range]) -> list[Range]:
        """Return what to ask for so that nothing is missing: not what is on its way, neighbours as one."""
        runs: list[Range] = []
        for start, stop in sorted(missing):
            if any(coming[0] <= start and stop <= coming[1] for coming in self._coming):
                continue
            if runs and start <= runs[-1][1] + _NEIGHBOURS:
                runs[-1] = runs[-1][0], max(stop, runs[-1][1])
            else:
                runs.append((start, stop))
        return [self._widened(run) for run in runs]

    def _widened(self, run: Range) -> Range:
        """Return a run with what will be read next, as far as that can be foreseen."""
        start, stop = run
        before = next(
            (end for end, size in self._streams.items() if end - size <= start <= end + _NEIGHBOURS), None
        )
        if before is not None:
            stop = max(stop, start + min(2 * self._streams.pop(before), self._reading.ahead))
        stop = min(self.size, max(stop, start + _LEAST))
        self._streams[stop] = stop - start
        if len(self._streams) > _STREAMS:
            self._streams.popitem(last=False)
        return start, stop

    def _bring(self, fresh: dict[Range, Future[Piece]]) -> None:
        """Fetch runs, for this thread and for all that wait for them."""
        try:
            pieces = self._fetch(list(fresh))
        except BaseException as error:
            with self._lock:
                for run, future in fresh.items():
                    del self._coming[run]
                    future.set_exception(error)
            raise
        with self._lock:
            for (run, future), piece in zip(fresh.items(), pieces, strict=True):
                del self._coming[run]
                self._kept[run] = piece
                self.bytes_read += len(piece.content)
                self.requests += 1
                future.set_result(piece)
            held = sum(len(piece.content) for piece in self._kept.values())
            while held > self._reading.keep:
                held -= len(self._kept.popitem(last=False)[1].content)
