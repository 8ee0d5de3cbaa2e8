"""Turns an example into codes of the published model."""

from collections.abc import Callable

from pipelines.api.watches import WatchExample
from pipelines.errors import ConfigError, TableError
from pipelines.imagery.picture import read_picture
from pipelines.imagery.pixels import PixelSpec
from pipelines.registry.bundles import read_bundle
from pipelines.storage.store import Store
from pipelines.table.code_table import CodeTable
from pipelines.table.pointer import Published, check_model
from pipelines.watch_files.watch_state import ExampleCodes

_AGAIN = "add the watch again, with another example (--replace)"


def resolve_example(
    example: WatchExample,
    coded_by: str,
    read_image: Callable[[], bytes],
    table: CodeTable,
    published: Published,
) -> ExampleCodes:
    """Return an example's codes.

    ``coded_by``: the model of the example's code, if the example is a code. ``read_image`` returns the bytes
    of the example's image, if it is an image. Raises TableError if a chip of the example isn't published,
    ConfigError if it is another model's code, PictureError if its image can't be encoded, BundleError.
    """
    if example.code is not None:
        if coded_by != published.model_id:
            raise ConfigError(
                f"the example is a code of {coded_by}, but now {published.model_id} is published; {_AGAIN}"
            )
        codes: tuple[str, ...] = (example.code.lower(),)
    elif example.image is not None:
        codes = (_encode(read_image(), published, table.store).hex(),)
    else:
        found = table.codes(published.model_id, example.chip_ids, published.table_version)
        for chip_id in example.chip_ids:
            if chip_id not in found:
                where = f"version {published.table_version} of {table.uri}"
                raise TableError(f"chip {chip_id} isn't in {where}, the published one; {_AGAIN}")
        codes = tuple(found[chip_id].hex() for chip_id in example.chip_ids)
    return ExampleCodes(model_id=published.model_id, codes=codes)


def _encode(content: bytes, published: Published, store: Store) -> bytes:
    import torch  # seconds to import

    manifest, network = read_bundle(published.bundle_uri, store)
    check_model(published, manifest)
    chip_HWC = read_picture(content, PixelSpec.of(network.input_spec))
    code_Y = network.encode(torch.from_numpy(chip_HWC[None]))[0]
    return bytes(code_Y.tobytes())
