"""Writes the texts in `outputs/` anew: `python -m tests.first_hour`."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.demo.objectstore import object_store
from tests.first_hour.play import play_all

OUTPUTS = Path(__file__).parent / "outputs"

if __name__ == "__main__":
    shutil.rmtree(OUTPUTS, ignore_errors=True)
    OUTPUTS.mkdir()
    with (
        TemporaryDirectory(prefix="first-hour-") as folder,
        object_store(Path(folder) / "weed", bucket="archive") as endpoint,
    ):
        for name, text in play_all(endpoint):
            (OUTPUTS / f"{name}.txt").write_text(text)
