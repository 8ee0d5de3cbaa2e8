"""Lists watches."""

from pydantic import BaseModel, ConfigDict

from pipelines.api.watches import WatchSummary
from pipelines.runtime.text_table import TextTable
from pipelines.storage.store import Store
from pipelines.watch.config import ListWatchesConfig
from pipelines.watch_files.watch_state import read_state, read_watch, summary_of, watch_names


class WatchLine(WatchSummary):
    """A watch, how far it has come, and its table."""

    table: str


class WatchList(BaseModel):
    """All watches."""

    model_config = ConfigDict(frozen=True)

    watches: list[WatchLine]


def list_watches(config: ListWatchesConfig) -> WatchList:
    """Return all watches. Raises ConfigError if the file of one isn't valid, StorageError."""
    store = Store(config.store)
    return WatchList(
        watches=[_line(config.watches, name, store) for name in watch_names(config.watches, store)]
    )


def _line(folder: str, name: str, store: Store) -> WatchLine:
    watch = read_watch(folder, name, store)
    state, _ = read_state(folder, watch, store)
    return WatchLine(**dict(summary_of(watch, state)), table=watch.table)


def _compared(watch: WatchLine) -> str:
    """Return how codes are compared, "" if it is the default."""
    if watch.kind_weight is not None:
        return f" (kind x {watch.kind_weight})"
    return "" if watch.compare == "both" else f" ({watch.compare})"


def watch_table(watches: WatchList) -> TextTable:
    """Return watches as a table, a row for each watch."""
    return TextTable(
        header=("watch", "bits", "hits", "last run (UTC)", "notes", "filters", "example", "table"),
        rows=[_row(watch) for watch in watches.watches],
        details=("notes", "filters", "example", "table"),
        numbers=("hits",),
    )


def _row(watch: WatchLine) -> tuple[str, ...]:
    example = watch.example
    return (
        watch.name,
        f"{watch.max_distance}{_compared(watch)}",
        str(watch.hits),
        f"{watch.ran_at:%Y-%m-%d %H:%M}" if watch.ran_at else "",
        watch.notes,
        watch.filters.model_dump_json(exclude_none=True) if watch.filters.has_filters else "",
        example.image or example.code or ", ".join(example.chip_ids),
        watch.table,
    )
