"""Whether all rows of an object have come, each once.

Ray repeats a task whose worker or node is lost, and goes on behind the blocks that it has yielded. If an
object of the task can't be read the second time, or only then, the rows behind it are shifted: some may come
twice, others not at all. So each row says its position among those of its object, and whether it is the last.
"""

from collections.abc import Iterable

import pyarrow as pa


class Completeness:
    """Looks at the rows of a unit as they come. Memory: a number for each object."""

    def __init__(self, uris: Iterable[str]) -> None:
        """Expect these objects."""
        self._seen = dict.fromkeys(uris, 0)  # rows
        self._ended: set[str] = set()
        self._wrong: set[str] = set()
        self.unknown: set[str] = set()
        """Objects with rows that nobody expects."""

    def see(self, rows: pa.Table) -> None:
        """Look at some rows (uri, position, is_last), which come after those before."""
        objects = rows.group_by("uri", use_threads=False).aggregate(
            [
                ("position", "min"),
                ("position", "max"),
                ("position", "count"),
                ("position", "count_distinct"),
                ("is_last", "sum"),
            ]
        )
        for uri, first, last, count, distinct, ends in zip(
            *(objects[name].to_pylist() for name in ("uri", "position_min", "position_max")),
            *(objects[name].to_pylist() for name in ("position_count", "position_count_distinct")),
            objects["is_last_sum"].to_pylist(),
            strict=True,
        ):
            if uri not in self._seen:
                self.unknown.add(uri)
                continue
            follows = first == self._seen[uri] and uri not in self._ended
            if not (follows and last - first + 1 == count == distinct and ends <= 1):
                self._wrong.add(uri)
            self._seen[uri] += count
            if ends:
                self._ended.add(uri)

    def not_whole(self) -> list[str]:
        """Return the objects of which rows are missing, or came twice."""
        return [uri for uri in self._seen if uri in self._wrong or uri not in self._ended]
