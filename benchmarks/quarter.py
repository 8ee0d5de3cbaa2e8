"""A scene cut at a quarter of its resolution, as a night's reading task does it: a process of its own.

`python -m benchmarks.quarter URI ENDPOINT` prints how many chips there are, how many bytes were read, the
largest memory of the process [GB] and the time [s].
"""

import json
import sys
import time
from pathlib import Path

import pyarrow as pa

import pipelines.encode.execution  # noqa: F401 - a task has imported this, which takes memory
from model.spec import InputSpec
from pipelines.config import StoreConfig
from pipelines.encode.chips import CHIP, read_objects
from pipelines.encode.config import EncodeConfig
from pipelines.sources.chip_specs import chip_specs_of
from pipelines.storage.store import Store

CHIP_SIZE, METRES = 256, 10.0  # pixels; of the scene's own pixels


def main() -> None:
    """Read all chips of the scene, and print the figures."""
    uri, endpoint = sys.argv[1:]
    store = Store(StoreConfig(endpoint=endpoint))
    night = EncodeConfig(source=uri, table="t", bundle="b", chip_size=CHIP_SIZE, resolution=4 * METRES)
    listed = pa.table({"uri": [uri], "etag": [store.etag(uri)], "collection": ["bench"]})
    chips = read = 0
    started = time.perf_counter()
    for batch in read_objects(listed, chip_specs_of(night, InputSpec(size=CHIP_SIZE)), store):
        rows = batch.rows
        assert set(rows["outcome"].to_pylist()) == {CHIP}, rows["detail"].to_pylist()
        chips += len(rows)
        read += sum(rows["bytes_read"].to_pylist())
    status = Path("/proc/self/status").read_text()  # VmHWM: the largest resident set so far
    memory = int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9
    print(json.dumps([chips, read, round(memory, 3), round(time.perf_counter() - started, 1)]))


if __name__ == "__main__":
    main()
