"""Plays the first hour, and writes its texts to a folder: `python -m tests.first_hour [FOLDER]`."""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.demo.objectstore import object_store
from tests.first_hour.play import play_all


def write_texts(folder: Path) -> None:
    """Write the text of each step into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with (
        TemporaryDirectory(prefix="first-hour-") as store,
        object_store(Path(store), bucket="archive") as endpoint,
    ):
        for name, text in play_all(endpoint):
            (folder / f"{name}.txt").write_text(text)


if __name__ == "__main__":
    write_texts(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "outputs")
