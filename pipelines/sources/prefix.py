"""Everything below a prefix, listed several folders at a time."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import pyarrow as pa

from pipelines.sources.objects import listed_table
from pipelines.storage import Page, Store

_REQUESTS = 16  # listings at a time


def list_prefix(prefix: str, store: Store, suffixes: tuple[str, ...]) -> Iterator[pa.Table]:
    """Yield the objects below a prefix that have one of these endings, a page of the listing at a time.

    Raises StorageError where there is no such bucket or folder, or any part of it can't be listed.
    """
    store.require_folder(prefix)
    for page in list_pages([prefix], store, descend=True):
        found = [info for info in page.objects if info.uri.lower().endswith(suffixes)]
        if found:
            yield listed_table(found)


def list_pages(folders: list[str], store: Store, *, descend: bool) -> Iterator[Page]:
    """Yield the pages of several folders' listings, and of those below them, in no order.

    Folders are opened level by level until there are enough to keep all requests busy; from there on each
    is listed flat, as a thousand small folders one by one would cost a thousand requests.
    """
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
                page = future.result()
                if page.token:
                    waiting.appendleft((folder, page.token, flat))
                if descend:
                    crowded = len(waiting) + len(page.folders) > 2 * _REQUESTS
                    waiting.extend((name, None, crowded) for name in page.folders)
                yield page
