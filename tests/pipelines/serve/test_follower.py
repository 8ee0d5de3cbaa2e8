"""What a replica holds when it starts, whatever is published by then."""

import errno
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from pipelines.errors import TableError
from pipelines.serve.config import ServeConfig
from pipelines.serve.follow import Follower
from pipelines.serve.prometheus import LastNightMetrics
from pipelines.storage.store import Store
from pipelines.table.pointer import Published, find_pointer, publish


class Loaded:
    """A publication, if its table's version is a good one."""

    def __init__(self, published: Published) -> None:
        if published.table_version == 99:
            raise TableError("version 99 is torn")
        self.published = published


class Following:
    """A table's publications and a follower of them that never looks by itself."""

    def __init__(self, store: Store, folder: Path, versions: list[int]) -> None:
        self.table, self.store = str(folder / uuid4().hex), store
        self.loads: list[int] = []
        self.is_full = False
        """Whether the disk is full, where indices are."""
        for version in versions:
            self.publish(version)

    def publish(self, version: int, table_id: str = "first") -> None:
        news = Published(
            table_id=table_id,
            table_version=version,
            model_id="m@0",
            bundle_uri="b",
            run_id="r",
            published_at=datetime(2026, 1, 1, tzinfo=UTC),
            gate={},
        )
        publish(self.table, self.store, news, find_pointer(self.table, self.store))

    def start(self, kept: int = 3) -> Follower[Loaded]:
        def load(published: Published, held: object) -> Loaded:
            if self.is_full:
                raise OSError(errno.ENOSPC, "no space left")
            self.loads.append(published.table_version)
            return Loaded(published)

        config = ServeConfig(
            table=self.table,
            store=self.store.config,
            open=True,
            poll_seconds=1e6,
            kept_snapshots=kept,
        )
        return Follower(config, load, lambda published, refused: None)


@pytest.mark.parametrize("versions", [[5, 99], [5, 99, 99]])
def test_what_was_before_is_served_where_the_newest_is_bad(
    store: Store, tmp_path: Path, versions: list[int]
) -> None:
    follower = Following(store, tmp_path, versions).start()
    assert follower.current.published.table_version == 5
    assert follower.refused is not None
    assert (follower.refused.published.table_version, follower.refused.reason) == (99, "version 99 is torn")


def test_nothing_starts_where_none_of_the_last_is_good(store: Store, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="version 99 is torn"):
        Following(store, tmp_path, [5, 99, 99, 99]).start()
    with pytest.raises(TableError, match="nothing is published"):
        Following(store, tmp_path, []).start()


def test_what_is_held_of_another_table_goes(store: Store, tmp_path: Path) -> None:
    """Its numbers and versions begin anew: the old one's would answer for them."""
    following = Following(store, tmp_path, [1, 2, 3])
    follower = following.start()
    store.remove_folder(following.table)
    following.publish(1, "second")
    follower.look()
    assert [held.published.table_id for held in follower.kept] == ["second"]
    assert follower.find(lambda published: published.table_version == 3) is None


def test_a_good_publication_ends_the_refusal(store: Store, tmp_path: Path) -> None:
    following = Following(store, tmp_path, [5, 99])
    follower = following.start()
    follower.look()
    assert follower.refused is not None
    following.publish(6)
    follower.look()
    assert (follower.current.published.table_version, follower.refused) == (6, None)


def test_older_ones_are_loaded_when_they_are_asked_for(store: Store, tmp_path: Path) -> None:
    following = Following(store, tmp_path, [1, 2, 3, 4])
    follower = following.start(kept=3)
    assert following.loads == [4]  # no more than must be
    found = follower.find(lambda published: published.table_version == 2)
    assert found is not None
    assert follower.find(lambda published: published.table_version == 2) is found
    assert following.loads == [4, 2]
    assert follower.find(lambda published: published.table_version == 1) is None  # one too many ago
    # what one client asked for in vain keeps no other from what there is
    assert follower.find(lambda published: published.table_version == 3) is not None
    following.publish(5)
    follower.look()
    assert [held.published.table_version for held in follower.kept] == [5, 4, 3]  # 2 is out of reach now


def test_what_is_published_now_is_loaded_when_it_is_asked_for(store: Store, tmp_path: Path) -> None:
    """Another replica has seen it already, and gave out tokens for further pages of it."""
    following = Following(store, tmp_path, [1, 2])
    follower = following.start()
    following.publish(7)
    found = follower.find(lambda published: published.table_version == 7)
    assert found is not None
    assert follower.current is found
    follower.look()
    assert following.loads == [2, 7]


def test_an_older_one_that_cannot_be_loaded_now_may_be_there_later(store: Store, tmp_path: Path) -> None:
    following = Following(store, tmp_path, [1, 99, 3])
    follower = following.start()
    assert follower.find(lambda published: published.table_version == 99) is None  # its files are gone
    following.is_full = True
    with pytest.raises(TimeoutError):
        follower.find(lambda published: published.table_version == 1)
    following.is_full = False
    found = follower.find(lambda published: published.table_version == 1)
    assert found is not None
    assert found.published.table_version == 1


def test_a_night_whose_record_cannot_be_read_stops_nothing(store: Store, tmp_path: Path) -> None:
    shown = LastNightMetrics(str(tmp_path), store)
    shown.show()  # no night yet
    (tmp_path / "_night.json").write_text("{}")
    shown.show()
