"""Work that goes on in a thread of its own while other things happen."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def in_background(name: str, work: Callable[[], None], stop: threading.Event) -> Iterator[None]:
    """Work in a thread while the context lasts; then set ``stop``, at which it ends, and wait for it."""
    thread = threading.Thread(target=work, name=name)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
