"""The Serve deployment that makes pictures of chips: a process of its own, so that no search waits for it.

Shapes: H x W pixels, C bands.
"""

import asyncio
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.api.pictures import FORMATS
from pipelines.errors import RejectedObject, ReplacedError, StorageError, StoreDownError
from pipelines.imagery.pixels import read_window
from pipelines.imagery.window import WindowTuple
from pipelines.runtime.logs import gather_logs
from pipelines.serve.config import ServeConfig
from pipelines.serve.picture_files import PictureFiles
from pipelines.serve.picture_form import ChipSource, PictureForm
from pipelines.serve.picture_sources import PictureSources
from pipelines.serve.pools import WorkPool
from pipelines.serve.refusals import Refusal
from pipelines.storage.store import Store

_THREADS = 12  # most of them wait for the store
_HELD_BYTES = 256 << 20  # of headers and blocks
_LARGEST_SIDE = 1024  # pixels, without a size: a chip with a size in metres may have any number in its source
_SAVING: dict[str, dict[str, int]] = {
    "PNG": {"compress_level": 1},  # higher levels take several times as long, for nothing
    "JPEG": {"quality": 85},
    "WEBP": {"quality": 80, "method": 0},
}


class Pictures:
    """Makes pictures, and keeps them on disk. Requests for one picture at a time make it once."""

    def __init__(self, config: ServeConfig) -> None:
        """Make the folder's keeper and the threads."""
        gather_logs()
        # reading a picture must end before its request times out
        patience = min(config.store.patience, config.timeout_seconds / 2)
        store = Store(config.store.model_copy(update={"patience": patience}))
        self._sources = PictureSources(store, _HELD_BYTES)
        self._files = PictureFiles(config.index_folder / "pictures", int(config.picture_cache_mb * 1e6))
        self._pool = WorkPool("picture", _THREADS)  # the ingress limits how many wait
        self._running: dict[str, asyncio.Future[bytes | Refusal]] = {}

    async def picture(self, source: ChipSource, form: PictureForm, version: str) -> bytes | Refusal:
        """Return a picture of a chip, or why there is none.

        ``version``: the one that is asked for. If the chip has another one now, only a kept picture is there.
        """
        key = f"{source.uri}#{source.window}#{form.tag(version)}"
        running = self._running.get(key)
        if running is None:
            running = asyncio.ensure_future(self._pool.run(self._find, key, source, form, version))
            self._running[key] = running
            running.add_done_callback(lambda _: self._running.pop(key))
        return await asyncio.shield(running)  # a request that is given up leaves it to the others

    def _find(self, key: str, source: ChipSource, form: PictureForm, version: str) -> bytes | Refusal:
        if (kept := self._files.find(key)) is not None:
            return kept
        if version != source.version:
            message = f"{source.uri} has been encoded anew since; the chip's picture is {source.version} now"
            return Refusal(409, "source_changed", message, "search again, or leave version out")
        picture = make_picture(source, form, self._sources)
        if isinstance(picture, bytes):
            self._files.keep(key, picture)
        return picture


def make_picture(source: ChipSource, form: PictureForm, sources: PictureSources) -> bytes | Refusal:
    """Return a chip's pixels as an image, in three bands or one, or why they can't be read.

    Pixels of another version of the object than the one that was encoded are never returned.
    """
    uri = source.uri
    try:
        with sources.opened(uri, source.etag, source.pixels) as (dataset, pixels):
            window = _around(source.window, form.context)
            chip_HWC = read_window(dataset, window, pixels, _side(window, form.size)).pixels_HWC
    except (FileNotFoundError, RejectedObject):
        message = f"{uri} is gone, or has changed since it was encoded"
        return Refusal(404, "source_gone", message, "the next nightly removes its chips, or renews them")
    except ReplacedError as error:
        message = f"{error}; the chip's code is of the older one"
        return Refusal(409, "source_changed", message, "the next nightly encodes it anew")
    except StoreDownError as error:
        return Refusal(503, "source_unavailable", str(error), "try again in a moment")
    except StorageError as error:
        hint = "asking again won't help: let the service's operator give it access to the imagery"
        return Refusal(502, "source_refused", str(error), hint)
    return _image(chip_HWC, form.media_type)


def _around(window: WindowTuple, context: int) -> WindowTuple:
    """Return a window ``context`` times as wide and high, with the same middle."""
    x, y, w, h = window
    return x - w * (context // 2), y - h * (context // 2), w * context, h * context


def _side(window: WindowTuple, size: int | None) -> int | None:
    """Return the side of a picture [pixels]; None: the window's own pixels. It is never enlarged."""
    largest = max(window[2:])
    if size is None:
        return _LARGEST_SIDE if largest > _LARGEST_SIDE else None
    return size if largest > size else None


def _image(chip_HWC: NDArray[np.uint8], media_type: str) -> bytes:
    kind, content = FORMATS[media_type], io.BytesIO()
    image = Image.fromarray(chip_HWC[..., 0] if chip_HWC.shape[2] < 3 else chip_HWC[..., :3])
    image.save(content, kind, **_SAVING[kind])
    return content.getvalue()
