"""All objects below a prefix, listed several folders at a time."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import pyarrow as pa

from pipelines.errors import StorageError, StoreDownError
from pipelines.sources.objects import listed_table
from pipelines.storage.listings import Page, PassedOver, Trail
from pipelines.storage.store import Store
from pipelines.uris import absolute

_REQUESTS = 16  # listings at a time
_WORLD_FILES = (
    *(".tfw", ".tifw", ".tiffw", ".jgw", ".jpgw", ".jpegw"),
    *(".pgw", ".pngw", ".j2w", ".jp2w", ".wld"),
)


def list_prefix(
    prefix: str, store: Store, suffixes: tuple[str, ...], passed_over: PassedOver | None = None
) -> Iterator[pa.Table]:
    """Yield the objects below a prefix whose names end in one of ``suffixes``, page by page of the listing.

    Hidden objects, world files, pipes and names that aren't UTF-8 are counted in ``passed_over``. Raises
    StorageError if there is no such bucket or folder, or a part of it can't be listed.
    """
    passed_over = PassedOver() if passed_over is None else passed_over
    folder = absolute(prefix).rstrip("/")
    if folder.startswith("s3://"):
        store.require_folder(folder)
        pages = list_pages([folder], store, descend=True)
    else:
        pages = store.pages(folder or "/")
    for page in pages:
        passed_over.merge(page.passed_over)
        found = []
        for info in page.objects:
            if info.uri.lower().endswith(_WORLD_FILES):
                passed_over.add("world_file", info.uri, "not read: an image must say itself where it lies")
            elif passed_over.is_image(info.uri, info.uri[len(folder) + 1 :], suffixes):
                found.append(info)
        if found:
            yield listed_table(found)


def list_pages(
    folders: list[str],
    store: Store,
    *,
    descend: bool,
    refused: Callable[[str], None] | None = None,
) -> Iterator[Page]:
    """Yield the pages of several folders' listings in any order; with ``descend`` also of all folders below.

    Folders are opened level by level until there are enough for all parallel requests. From then on each is
    listed flat, because a thousand small folders one by one would cost a thousand requests.

    If a folder can't be listed, ``refused`` is called with it; without ``refused``, StorageError is raised.
    If the store doesn't answer, StoreDownError is raised in both cases.
    """
    trail = Trail(folders[0])
    waiting: deque[tuple[str, str | None, bool]] = deque((folder, None, False) for folder in folders)
    running: dict[Future[Page], tuple[str, bool]] = {}
    with ThreadPoolExecutor(_REQUESTS) as pool:
        while waiting or running:
            while waiting and len(running) < _REQUESTS:
                folder, token, flat = waiting.popleft()
                running[pool.submit(store.page, folder, token, flat=flat)] = folder, flat
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                folder, flat = running.pop(future)
                try:
                    page = future.result()
                except StorageError as error:
                    if refused is None or isinstance(error, StoreDownError):
                        raise
                    refused(folder)
                    continue
                trail.step(folder, page)
                if page.token:
                    waiting.appendleft((folder, page.token, flat))
                if descend:
                    crowded = len(waiting) + len(page.folders) > 2 * _REQUESTS
                    waiting.extend((name, None, crowded) for name in page.folders)
                yield page
