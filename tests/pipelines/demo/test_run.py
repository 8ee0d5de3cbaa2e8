import pytest

from pipelines.demo.config import DemoConfig
from pipelines.demo.run import clear_output, run_demo
from pipelines.errors import ConfigError


def test_a_folder_that_no_demo_wrote_is_never_removed(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="holds something that no demo wrote"):
        run_demo(DemoConfig(output=str(tmp_path)))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_what_an_earlier_demo_left_is_removed(tmp_path):
    folder = tmp_path / "demo-output"
    clear_output(folder)
    folder.mkdir()
    clear_output(folder)
    folder.mkdir()
    (folder / ".scenehash-demo").touch()
    (folder / "old.png").touch()
    clear_output(folder)
    assert not folder.exists()
