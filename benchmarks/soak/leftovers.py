"""Files that are left behind: what nothing names, once maintenance has run and nobody works any more."""

from pathlib import Path

from benchmarks.soak.archive import Archive
from benchmarks.soak.nights import Places
from pipelines.maintain.vacuum import clear_log, kept_versions, vacuum
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import POINTER, read_pointer

_KERNELS = "kernels"  # a lock without a folder: whoever compiles kernels holds it


def objects_left(places: Places, archive: Archive, store: Store) -> list[str]:
    """Remove what maintenance would, as if all files were old enough; return the objects that nothing names.

    ``jobs.maintain`` keeps each file for an hour at least, because a night may be at work on it.
    """
    table = CodeTable(places.table, store)
    kept = kept_versions(table, keep_days=0, keep_publications=2)
    vacuum(table.open(), 0, kept, dry_run=False)
    vacuum(table.open_rejects(), 0, [], dry_run=False)
    table.open().create_checkpoint()
    clear_log(places.table, store, min([*kept, table.open().version()]), 0, dry_run=False)
    named = {*archive.etags, f"{places.table}/{POINTER}", f"{places.table}/_night.json"}
    newest = read_pointer(places.table, store).number
    named |= {f"{places.table}/_published/{number:06}.json" for number in range(1, newest)}
    for version in [*kept, table.open().version()]:
        named |= set(table.open(version).file_uris())
    named |= set(table.open_rejects().file_uris())
    apart = (
        f"{places.table}/_delta_log/",
        f"{table.rejects_uri}/_delta_log/",
        f"{places.bundles}/",
        f"{places.watches}/",
        f"{places.hits}/",
    )
    there = (info.uri for info in store.list(places.root))
    return sorted(uri for uri in there if uri not in named and not uri.startswith(apart))


def local_left(folder: Path) -> list[str]:
    """Return what is left in the folder of indices and pictures.

    That is parts of indices, locks of folders that are gone, and pictures that weren't finished.
    """
    left = [path.name for path in folder.iterdir() if path.name.startswith(".") and path.suffix != ".lock"]
    for lock in folder.glob(".*.lock"):
        name = lock.name.removeprefix(".").removesuffix(".lock")
        if name != _KERNELS and not (folder / name).exists():
            left.append(lock.name)
    return sorted([*left, *(str(path.relative_to(folder)) for path in folder.glob("pictures/*/*.tmp"))])
