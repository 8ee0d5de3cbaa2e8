"""Built indices on disk: reopened when whole, and never trusted otherwise."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import pipelines
from pipelines.errors import StaleIndexError
from pipelines.index.files import building, open_folder, remove_others, write_folder

SOURCE = {"table": "s3://a/b", "version": 3}
ARRAYS = {"codes_WN": np.arange(400_000, dtype=np.uint64).reshape(2, -1), "groups.rows_N": np.arange(3)}


def write(folder, source=SOURCE):
    def files(new):
        (new / "records").write_bytes(b"rows" * 1000)
        return ARRAYS

    write_folder(folder, files, source)
    return folder


def test_gives_back_what_was_written(tmp_path):
    opened = open_folder(write(tmp_path / "index"), SOURCE)
    assert opened.keys() == ARRAYS.keys()
    assert all((opened[name] == ARRAYS[name]).all() for name in ARRAYS)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_a_new_one_takes_the_place_of_an_old_one_that_is_still_read(tmp_path):
    opened = open_folder(write(tmp_path / "index"), SOURCE)
    write(tmp_path / "index", {"table": "other"})
    assert (opened["codes_WN"] == ARRAYS["codes_WN"]).all()
    open_folder(tmp_path / "index", {"table": "other"})


@pytest.mark.server
def test_many_that_build_the_same_at_once_leave_one_whole(tmp_path):
    with ThreadPoolExecutor(4) as builders:
        assert list(builders.map(write, [tmp_path / "index"] * 60)) == [tmp_path / "index"] * 60
    assert (open_folder(tmp_path / "index", SOURCE)["codes_WN"] == ARRAYS["codes_WN"]).all()
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change_manifest(path, **changes):
    manifest = json.loads((path.parent / "manifest.json").read_text())
    (path.parent / "manifest.json").write_text(json.dumps(manifest | changes))


@pytest.mark.parametrize("name", ["codes_WN.npy", "records"])
@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        flip_a_bit,
        lambda path: (path.parent / "manifest.json").unlink(),
        lambda path: (path.parent / "manifest.json").write_text("{"),
        lambda path: change_manifest(path, format_version=0),
        lambda path: change_manifest(path, source={"table": "other"}),
        lambda path: change_manifest(path, files=None),
    ],
)
def test_what_is_not_as_it_was_written_is_stale(tmp_path, name, harm):
    harm(write(tmp_path / "index") / name)
    with pytest.raises(StaleIndexError):
        open_folder(tmp_path / "index", SOURCE)


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def fail(new):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_folder(tmp_path / "index", fail, SOURCE)
    assert list(tmp_path.iterdir()) == []


BUILD = """
import os, signal, sys
from pathlib import Path
from pipelines.index.files import building, write_folder
def die(new):
    (new / "records").write_bytes(b"rows")
    os.kill(os.getpid(), signal.SIGKILL)
folder = Path(sys.argv[1])
with building(folder):
    write_folder(folder, die, {})
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def killed_while_building(folder):
    assert run(sys.executable, "-c", BUILD, str(folder)).returncode == -signal.SIGKILL
    assert len(names(folder.parent)) > 1, "the lock and what it had written"


def test_what_a_killed_process_left_is_removed_by_the_next_that_builds(tmp_path):
    killed_while_building(tmp_path / "v1.0-7")
    with building(tmp_path / "v1.0-7"):
        write(tmp_path / "v1.0-7")
    assert names(tmp_path) == [".v1.0-7.lock", "v1.0-7"]


def test_other_folders_go_with_their_locks_and_with_what_killed_processes_left(tmp_path):
    for name in ("a-1", "a-2", "b-1"):
        with building(tmp_path / name):
            write(tmp_path / name)
    killed_while_building(tmp_path / "a-3")
    remove_others(tmp_path, "a-", ["a-2"])
    assert names(tmp_path) == [".a-2.lock", ".b-1.lock", "a-2", "b-1"]
    with building(tmp_path / "a-1"):  # its lock was removed
        write(tmp_path / "a-1")
        remove_others(tmp_path, "a-", ["a-2"])
        assert "a-1" in names(tmp_path), "somebody is at work on it"


def test_a_lock_that_is_removed_while_others_wait_still_lets_one_in_at_a_time(tmp_path):
    inside = []

    def build(number):
        for _ in range(20):
            with building(tmp_path / "index"):
                inside.append(number)
                assert len(inside) == 1
                inside.remove(number)
            remove_others(tmp_path, "index", [])

    with ThreadPoolExecutor(4) as builders:
        assert list(builders.map(build, range(4))) == [None] * 4
    assert names(tmp_path) == []


KERNELS = """
import numpy as np
from numba.core.dispatcher import Dispatcher
from pipelines.hamming import bit_order, groups, tables
from pipelines.hamming.arrays import build_arrays
build_arrays(np.random.default_rng(0).integers(0, 256, (20_000, 8), np.uint8))
kernels = [each for module in (bit_order, groups, tables) for each in vars(module).values()]
print(sum(len(each.stats.cache_misses) for each in kernels if isinstance(each, Dispatcher)))
"""


def run(*command, **environment):
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=170)


@pytest.mark.server
def test_kernels_are_compiled_once_for_all_processes(tmp_path):
    command, cache = [sys.executable, "-c", KERNELS], {"NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (int(run(*command, **cache).stdout) for _ in range(2))
    assert (first > 3, second) == (True, 0)


@pytest.mark.server
def test_works_where_nothing_can_be_written():
    package = Path(pipelines.__file__).parent
    readonly = f"mount --bind {package} {package} && mount -o remount,ro,bind {package}"
    if run("unshare", "-m", "sh", "-c", readonly, **os.environ).returncode:
        pytest.skip("this machine doesn't let a test mount its install read-only")
    finished = run(
        "unshare", "-m", "sh", "-c", f'{readonly} && exec "$0" "$@"', sys.executable, "-c", KERNELS,
        HOME="/dev/null/home", PATH=os.environ["PATH"],
    )  # fmt: skip
    assert (int(finished.stdout) > 3, finished.stderr) == (True, "")  # compiled, and not kept
