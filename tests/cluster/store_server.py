"""An S3 server that runs until it is killed: store_server.py FOLDER ADDRESS."""

import signal
import sys
from pathlib import Path

from pipelines.demo.objectstore import object_store

PORT, BUCKET, IS_UP = 8333, "archive", b"the store is up"

if __name__ == "__main__":
    with object_store(Path(sys.argv[1]), BUCKET, PORT, host=sys.argv[2]):
        sys.stdout.buffer.write(IS_UP)
        sys.stdout.flush()
        signal.pause()
