"""Runs watches: the new chips near their examples go to files, each hit once.

    read the state -> find new chips nearby -> hits into the state, by conditional put -> files -> state

The first write decides. Hits in the state are written to files, by this run or by the next one; hits that
didn't get into the state are found again.

Shapes: E examples, Y bytes a code.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import structlog

from pipelines.api.watches import Hit
from pipelines.errors import ConfigError, ConflictError
from pipelines.index.part_weights import comparison_of
from pipelines.registry.bundles import read_manifest
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import Published, check_model, read_pointer
from pipelines.watch.config import RunWatchesConfig
from pipelines.watch.example_codes import resolve_example
from pipelines.watch.new_matches import NewMatches, Search, find_new_matches, is_newer
from pipelines.watch.report import Tally, WatchReport, collect_errors, report_of
from pipelines.watch_files.hits import geojson, hit_of, hits_uri, json_lines
from pipelines.watch_files.watch_state import (
    Progress,
    SeenVersion,
    State,
    Watch,
    image_uri,
    read_state,
    read_watch,
    watch_names,
    write_state,
)

log = structlog.get_logger()


@dataclass
class _Run:
    """One watch in this run."""

    watch: Watch
    state: State
    etag: str
    """The state's etag when it was read"""
    published: Published
    progress: Progress
    """The state's progress, with the example's codes by the published model"""
    search: Search | None
    """None: the publication isn't newer than what was looked at"""


def run_watches(config: RunWatchesConfig) -> WatchReport:
    """Write what is new near each watch's example since its last run. If one fails, the others still run.

    Raises WatchError, which carries the report, if watches have failed; StorageError if the watches can't be
    listed or the output's bucket doesn't exist.
    """
    store = Store(config.store)
    store.require_bucket(config.output)
    names = [config.name] if config.name else watch_names(config.watches, store)
    tallies = {name: Tally() for name in names}
    published: dict[str, Published] = {}
    groups: dict[tuple[str, str], list[_Run]] = defaultdict(list)
    for name, tally in tallies.items():
        with collect_errors(tally):
            run = _prepare(config, name, tally, published, store)
            # watches of one table that have looked at the same versions share one pass
            groups[run.watch.table, repr(sorted(run.progress.looked.items()))].append(run)
    for runs in groups.values():
        _run_group(config, runs, tallies, store)
    return report_of(tallies)


def _prepare(
    config: RunWatchesConfig, name: str, tally: Tally, published: dict[str, Published], store: Store
) -> _Run:
    """Write the files that an earlier run has left unwritten, and prepare a watch's search."""
    watch = read_watch(config.watches, name, store)
    tally.files += _deliver(config, watch, store)
    state, etag = read_state(config.watches, watch, store)
    if state.undelivered:  # another run has just written it: don't overwrite its hits
        raise ConflictError(f"another run has just found hits of {name}; run again when it is done")
    if watch.table not in published:  # read once: all watches look at the same publication
        published[watch.table] = read_pointer(watch.table, store)
    publication, progress = published[watch.table], state.progress
    tally.publication = publication.number
    if not is_newer(publication, progress.looked):
        return _Run(watch, state, etag, publication, progress, None)
    if progress.example.model_id != publication.model_id:
        codes = resolve_example(
            watch.example,
            watch.start.example.model_id,
            lambda: _read_image(config.watches, watch, store),
            CodeTable(watch.table, store),
            publication,
        )
        progress = progress.model_copy(update={"example": codes})
    return _Run(watch, state, etag, publication, progress, _search(watch, progress, publication, store))


def _read_image(folder: str, watch: Watch, store: Store) -> bytes:
    uri = image_uri(folder, watch.example.image or "")
    try:
        return store.read(uri)
    except FileNotFoundError as error:
        raise ConfigError(f"the example's image {uri} is gone; add the watch again (--replace)") from error


def _run_group(
    config: RunWatchesConfig, runs: Sequence[_Run], tallies: dict[str, Tally], store: Store
) -> None:
    """Search for watches of one table that have looked at the same versions, and write their hits."""
    published, looked = runs[0].published, runs[0].progress.looked
    matches = NewMatches([pa.table({"chip_id": []}) for _ in runs], 0)
    with collect_errors(*(tallies[run.watch.name] for run in runs)):
        if is_newer(published, looked):
            table = CodeTable(runs[0].watch.table, store)
            searches = [run.search for run in runs if run.search is not None]
            matches = find_new_matches(table, published, looked, searches)
        for run, rows in zip(runs, matches.rows, strict=True):
            tally = tallies[run.watch.name]
            with collect_errors(tally):
                tally.compared, tally.notes = matches.compared, matches.notes
                tally.hits = _commit(config, run, rows, matches.gone, store)
                tally.files += _deliver(config, run.watch, store)
                log.info("watch", name=run.watch.name, publication=published.number, hits=tally.hits)


def _search(watch: Watch, progress: Progress, published: Published, store: Store) -> Search:
    """Return a watch's search. Raises ComparisonError if the model's codes lack a part that it compares."""
    manifest = read_manifest(published.bundle_uri, store)
    check_model(published, manifest)
    code = manifest.network.code
    return Search(
        np.stack([np.frombuffer(bytes.fromhex(code), np.uint8) for code in progress.example.codes]),
        tuple(part.bits for part in code.parts),
        comparison_of(code, watch.compare, watch.kind_weight),
        watch.max_distance,
        watch.filters,
        watch.example.chip_ids,
    )


def _commit(config: RunWatchesConfig, run: _Run, rows: pa.Table, gone: set[str], store: Store) -> int:
    """Write a watch's progress and new hits into its state; return how many hits. Raises ConflictError."""
    published, known = run.published, set(run.state.reported)
    nearest = sorted(rows.to_pylist(), key=lambda row: (row["distance"], row["tie"], row["chip_id"]))
    hits = [hit_of(row, run.watch.name, published) for row in nearest]
    hits = [hit for hit in hits if hit.key not in known]
    progress = run.progress
    if is_newer(published, progress.looked):
        newest = SeenVersion.of(published)
        kept = {model_id: before for model_id, before in progress.looked.items() if model_id not in gone}
        looked = kept | {published.model_id: newest}
        progress = progress.model_copy(update={"publication": published.number, "looked": looked})
    state = State(
        created_at=run.watch.created_at,
        ran_at=datetime.now(UTC),
        progress=progress,
        reported=(*run.state.reported, *(hit.key for hit in hits)),
        undelivered=tuple(hits),
    )
    write_state(config.watches, run.watch, state, run.etag, store)
    return len(hits)


def _deliver(config: RunWatchesConfig, watch: Watch, store: Store) -> list[str]:
    """Write the files of the state's undelivered hits; return their URIs.

    If a run is killed here, the next one writes the same files again.
    """
    state, etag = read_state(config.watches, watch, store)
    if not state.undelivered:
        return []
    hits: Sequence[Hit] = state.undelivered
    uri = hits_uri(config.output, watch.name, hits[0].properties.publication)
    contents = {uri: geojson(hits), f"{uri.removesuffix('.geojson')}.jsonl": json_lines(hits)}
    for uri, content in contents.items():
        store.write(uri, content)
    write_state(config.watches, watch, state.model_copy(update={"undelivered": ()}), etag, store)
    return list(contents)
