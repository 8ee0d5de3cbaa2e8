"""One version of an object, read in pieces: none is asked for twice, and neighbours are asked for together.

What a reader will want next is fetched while it works on what it has.

A range is (start, stop) [bytes]; stop isn't part of it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

Range = tuple[int, int]

_NEIGHBOURS = 32 << 10  # bytes between two ranges that are read along, as another request takes longer
_LEAST = 64 << 10  # bytes: who reads a little of a header soon reads what stands beside it
_LITTLE = 1 << 20  # bytes that may be read ahead for nothing
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
    """Whoever reads on from where a piece ended gets a piece twice as large, up to so many bytes, and then
    the one behind it before it is asked for; less if ``keep`` has no room for that."""
    is_strict: bool = False
    """Whether the etag of an upload in another number of parts is that of another version: of a new object,
    and not of a copy."""


FOR_CHIPS = Reading(first=4 << 20, whole=16 << 20, keep=64 << 20, ahead=8 << 20)
"""For all chips of an object. `benchmarks.reading` measures the limit; docs/architecture.md has figures."""
FOR_PICTURES = Reading(first=64 << 10, whole=64 << 10, keep=8 << 20, ahead=0, is_strict=True)
"""For a few chips of an object: its header, then the blocks that they touch. New pixels must never stand
beside an old code."""


@dataclass(frozen=True)
class Piece:
    """A range of an object as a store has sent it."""

    start: int
    content: bytes
    etag: str
    """Of the whole object."""
    size: int
    """Of the whole object [bytes]."""

    @property
    def range(self) -> Range:
        """Return the range that it is."""
        return self.start, self.start + len(self.content)


class _Stream(NamedTuple):
    """An object that is read from one piece to the next."""

    size: int
    """Of the last piece [bytes]."""
    goes_on: bool
    """Whether it was read on from the piece before."""


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
        self._streams: OrderedDict[int, _Stream] = OrderedDict()  # by where their last piece ends

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
            here = [self._first, *self._found(within)]
            waited = {run: future for run, future in self._coming.items() if _touch(run, within)}
            known = sorted([*(piece.range for piece in here), *waited])
            fresh = {run: Future[Piece]() for run in self._runs(_gaps(within, known))}
            self._coming |= fresh
            following = {run: Future[Piece]() for run in self._following(within)}
            self._coming |= following
        for run, future in following.items():
            threading.Thread(target=self._bring_ahead, args=(run, future), daemon=True).start()
        if fresh:
            self._bring(fresh)
        pieces = [*here, *(future.result() for future in (waited | fresh).values())]
        return [_joined(each, pieces) for each in within]

    def _found(self, wanted: Sequence[Range]) -> list[Piece]:
        """Return the kept pieces that have some of these ranges."""
        runs = [run for run in self._kept if _touch(run, wanted)]
        for run in runs:
            self._kept.move_to_end(run)
        return [self._kept[run] for run in runs]

    def _runs(self, gaps: Sequence[Range]) -> list[Range]:
        """Return what to ask for so that there are no gaps: neighbours as one."""
        runs: list[Range] = []
        for start, stop in sorted(gaps):
            if runs and start <= runs[-1][1] + _NEIGHBOURS:
                runs[-1] = runs[-1][0], max(stop, runs[-1][1])
            else:
                runs.append((start, stop))
        return [self._widened(run) for run in runs]

    def _widened(self, run: Range) -> Range:
        """Return a run with what will be read next, as far as that can be foreseen."""
        start, stop = run
        before = next(
            (end for end, each in self._streams.items() if end - each.size <= start <= end + _NEIGHBOURS),
            None,
        )
        if before is not None:
            stop = max(stop, start + self._at_most(2 * self._streams.pop(before).size))
        stop = min(self.size, max(stop, start + _LEAST))
        self._remember(stop, _Stream(stop - start, goes_on=before is not None))
        return start, stop

    def _following(self, wanted: Sequence[Range]) -> list[Range]:
        """Return what comes behind the last pieces of streams that go on, where these pieces are wanted."""
        runs: list[Range] = []
        for end, stream in list(self._streams.items()):
            is_known = any(start <= end < stop for start, stop in (*self._kept, *self._coming))
            if not stream.goes_on or is_known or not _touch((end - stream.size, end), wanted):
                continue
            del self._streams[end]
            # it may be for nothing: so it is little beside what was read of the object
            little = max(_LITTLE, self.bytes_read // 6)
            stop = min(self.size, end + self._at_most(min(stream.size * 3 // 2, little)))
            if stop > end:
                self._remember(stop, _Stream(stop - end, goes_on=True))
                runs.append((end, stop))
        return runs

    def _at_most(self, size: int) -> int:
        """Return the size of a stream's next piece, so that there is room for four of each stream [bytes]."""
        streams = 1 + sum(each.goes_on for each in self._streams.values())
        return min(size, self._reading.ahead, self._reading.keep // (4 * streams))

    def _remember(self, end: int, stream: _Stream) -> None:
        self._streams[end] = stream
        if len(self._streams) > _STREAMS:
            self._streams.popitem(last=False)

    def _bring_ahead(self, run: Range, future: Future[Piece]) -> None:
        """Fetch a run that nobody waits for yet. Whoever comes to wait for it is told of a failure."""
        with suppress(Exception):
            self._bring({run: future})

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


def _touch(run: Range, wanted: Sequence[Range]) -> bool:
    """Return whether a run has some of these ranges."""
    return any(start < run[1] and run[0] < stop for start, stop in wanted)


def _gaps(wanted: Sequence[Range], known: Sequence[Range]) -> list[Range]:
    """Return what is in none of the known ranges, which are sorted."""
    gaps: list[Range] = []
    for start, stop in wanted:
        for known_start, known_stop in known:
            if start < known_start < stop:
                gaps.append((start, known_start))
            if known_start < stop:
                start = max(start, known_stop)
        if start < stop:
            gaps.append((start, stop))
    return gaps


def _joined(wanted: Range, pieces: Sequence[Piece]) -> bytes:
    """Return a range's content from pieces that have it together; shorter where they end."""
    place, stop = wanted
    parts: list[bytes] = []
    while place < stop:
        piece = next((each for each in pieces if each.range[0] <= place < each.range[1]), None)
        if piece is None:
            break
        parts.append(piece.content[place - piece.start : stop - piece.start])
        place += len(parts[-1])
    return b"".join(parts)
