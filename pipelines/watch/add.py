"""Adds and removes watches."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from pipelines.api.filter_flags import checked, filter_values
from pipelines.api.requests import Filters
from pipelines.api.watches import WatchExample
from pipelines.errors import ConfigError, ConflictError
from pipelines.index.part_weights import comparison_of
from pipelines.registry.bundles import read_manifest
from pipelines.storage.store import ABSENT, Store
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import Published, check_model, read_pointer
from pipelines.watch.config import AddWatchConfig, RemoveWatchConfig
from pipelines.watch.example_codes import resolve_example
from pipelines.watch_files.watch_state import (
    Progress,
    SeenVersion,
    Watch,
    image_uri,
    read_watch,
    state_uri,
    watch_uri,
)


def add_watch(config: AddWatchConfig) -> Watch:
    """Save a watch, and return it. It reports what is published after now; with ``from_start`` everything.

    Raises ConfigError if there is a watch of this name already, if a filter isn't valid, or if example or
    distance don't fit the model;
    ComparisonError if the model's codes can't be compared in this way; TableError if nothing is published, or
    a chip isn't there; PictureError, BundleError.
    """
    filters = checked(Filters, filter_values(config))
    store = Store(config.store)
    store.require_bucket(config.watches)
    table = CodeTable(config.table, store)
    published = read_pointer(table.uri, store)
    image = b"" if config.image is None else _read(config.image)
    example = WatchExample(
        chip_ids=config.chip_id,
        code=config.code,
        image=f"{config.name}.{hashlib.sha256(image).hexdigest()[:12]}.image" if image else None,
    )
    codes = resolve_example(example, published.model_id, lambda: image, table, published)
    _check_codes(config, published, store)
    looked = SeenVersion.of(published)
    watch = Watch(
        name=config.name,
        table=table.uri,
        example=example,
        max_distance=config.max_distance,
        compare=config.compare,
        kind_weight=config.kind_weight,
        filters=filters,
        notes=config.notes,
        created_at=datetime.now(UTC),
        start=Progress(
            publication=0 if config.from_start else published.number,
            looked={} if config.from_start else {published.model_id: looked},
            example=codes,
        ),
    )
    _save(config, watch, image, store)
    return watch


def _read(image: Path) -> bytes:
    try:
        content = image.read_bytes()
    except OSError as error:
        raise ConfigError(f"image {image} can't be read: {error.strerror}") from error
    if not content:
        raise ConfigError(f"image {image} is empty")
    return content


def _check_codes(config: AddWatchConfig, published: Published, store: Store) -> None:
    """Raise ConfigError or ComparisonError unless the watch fits the codes of the published model."""
    manifest = read_manifest(published.bundle_uri, store)
    check_model(published, manifest)
    code = manifest.network.code
    comparison = comparison_of(code, config.compare, config.kind_weight)
    greatest = comparison.greatest_distance([part.bits for part in code.parts])
    if config.max_distance > greatest:
        raise ConfigError(
            f"max_distance: {config.max_distance} is more than {greatest}, the greatest distance of two "
            f"codes of {published.model_id} in this comparison"
        )
    if config.code is not None and len(config.code) * 4 != code.bits:
        raise ConfigError(
            f"code: it has {len(config.code) * 4} bits, the codes of {published.model_id} have {code.bits}"
        )


def _save(config: AddWatchConfig, watch: Watch, image: bytes, store: Store) -> None:
    """Write a watch; its image first, because the image alone does no harm."""
    uri = watch_uri(config.watches, watch.name)
    try:
        old, etag = store.read_with_etag(uri)
    except FileNotFoundError:
        old, etag = b"", ABSENT
    if old and not config.replace:
        raise ConfigError(f"there is a watch {watch.name} at {config.watches} already; --replace starts anew")
    if watch.example.image:
        store.write(image_uri(config.watches, watch.example.image), image)
    try:
        store.write_if_match(uri, watch.model_dump_json(indent=2).encode(), etag)
    except ConflictError as error:
        raise ConfigError(
            f"somebody else has just written the watch {watch.name}; look at it first"
        ) from error


def remove_watch(config: RemoveWatchConfig) -> Watch:
    """Remove a watch, its state and its image; return the watch. Raises ConfigError if there is none."""
    store = Store(config.store)
    watch = read_watch(config.watches, config.name, store)
    store.remove(watch_uri(config.watches, watch.name))  # first, because the other files alone do no harm
    store.remove(state_uri(config.watches, watch.name))
    if watch.example.image:
        store.remove(image_uri(config.watches, watch.example.image))
    return watch
