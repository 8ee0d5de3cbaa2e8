import io
import math
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.config import StoreConfig
from pipelines.encode.config import EncodeConfig
from pipelines.errors import ConfigError, StorageError
from pipelines.labels.dataset import SPLITS, SUFFIXES, SplitConfig, multi_hot, read_labels
from pipelines.storage.store import Store
from tests.pipelines.labels.rows import ROWS, WINDOW
from tests.pipelines.sources.awkward import s3_with, serving

AID = Path(__file__).parents[4] / "shared/data/aid150"
LOCAL = Store(StoreConfig())


def labelled(counts):
    """Rows of whole images, so many a class."""
    return [
        {"uri": f"{label}{n}.tif", "label": label} for label, count in counts.items() for n in range(count)
    ]


def read(folder, rows, **split):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    LOCAL.write(f"{folder}/labels.parquet", buffer.getvalue())
    return read_labels(f"{folder}/labels.parquet", LOCAL, SplitConfig(**split))


def write_folder(store, folder, counts):
    for label, count in counts.items():
        for number in range(count):
            store.write(f"{folder}/{label}/{number:03}.tif", b"not read")
    return folder


def of_images(labels):
    """The splits that each image is in, by the end of its URI."""
    splits = defaultdict(set)
    for row in labels.chips.to_pylist():
        splits[row["uri"].rpartition("/")[2]].add(row["split"])
    return splits


def test_a_folder_for_each_class(store, any_root):
    write_folder(store, any_root, {"ice": 5, "old ice/deep/down": 1, "old ice": 4})
    for name in ("readme.txt", "ice/._x.xml", "sketch.svg"):
        store.write(f"{any_root}/{name}", b"no image")
    store.write(f"{any_root}/old ice/x.JPG", b"not read")
    labels = read_labels(f"{any_root}/", store)
    assert labels.class_names == ("ice", "old ice")
    assert Counter(of_chip[0] for of_chip in labels.chips["labels"].to_pylist()) == {"ice": 5, "old ice": 6}
    assert labels.chips["uri"].to_pylist() == sorted(labels.chips["uri"].to_pylist())
    assert labels.chips["window"].null_count == len(labels.chips) == 11
    assert all(labels.chips["etag"].to_pylist())
    assert [labels.count(split) for split in SPLITS] == [7, 0, 4]  # 3 of 5 and 4 of 6 train


def test_the_endings_are_those_that_are_encoded():
    assert EncodeConfig(source="s3://a/b", table="s3://a/b", bundle="s3://a/b").suffixes == SUFFIXES


def test_the_split_moves_with_the_folder(store, root, tmp_path, monkeypatch):
    counts = {"ice": 20, "sand": 30}
    here, there = write_folder(LOCAL, str(tmp_path), counts), write_folder(store, root, counts)
    expected = read_labels(here, LOCAL)
    assert read_labels(there, store).chips["split"].equals(expected.chips["split"])
    assert read_labels(f"file://{here}", LOCAL).chips.equals(expected.chips)
    monkeypatch.chdir(tmp_path.parent)
    assert read_labels(f"{tmp_path.name}/", LOCAL).chips["split"].equals(expected.chips["split"])


def test_an_image_outside_of_the_classes_folders_is_told(store, any_root):
    write_folder(store, any_root, {"ice": 2, "sand": 2})
    store.write(f"{any_root}/stray.png", b"not read")
    with pytest.raises(ConfigError, match=r"stray.png is in no class's folder: move it to .*/<class>/"):
        read_labels(any_root, store)


def test_what_tools_leave_in_a_folder_is_no_class(store, any_root):
    write_folder(store, any_root, {"ice": 4, "sand": 4})
    junk = (
        ".ipynb_checkpoints/1.tif",
        "__MACOSX/ice/1.tif",
        "ice/._1.tif",
        "ice/.cache/1.tif",
        ".DS/x/1.tif",
    )
    for name in junk:
        store.write(f"{any_root}/{name}", b"not read")
    labels = read_labels(any_root, store)
    assert labels.class_names == ("ice", "sand")
    assert len(labels.chips) == 8


SPLIT_NAMES = [("train", "val", "test"), ("training", "validation", "testing"), ("Train", "valid", "TEST")]


@pytest.mark.parametrize("names", SPLIT_NAMES)
def test_folders_named_like_splits_are_the_split(tmp_path, names):
    for name, count in zip(names, (6, 2, 3), strict=True):
        write_folder(LOCAL, f"{tmp_path}/{name}", {"ice": count, "sand/deep": count})
    labels = read_labels(str(tmp_path), LOCAL)
    assert labels.class_names == ("ice", "sand")
    assert [labels.count(split) for split in SPLITS] == [12, 4, 6]
    for split, name in zip(SPLITS, names, strict=True):
        assert all(f"/{name}/" in uri for uri in labels.rows(split)["uri"].to_pylist())


def test_a_split_without_validation_takes_it_from_train(tmp_path):
    for name in ("train", "test"):
        write_folder(LOCAL, f"{tmp_path}/{name}", {"ice": 10, "sand": 10})
    labels = read_labels(str(tmp_path), LOCAL)
    assert [labels.count(split) for split in SPLITS] == [18, 2, 20]


def test_a_class_may_be_named_like_a_split(tmp_path):
    labels = read_labels(write_folder(LOCAL, str(tmp_path), {"train": 4, "ship": 4, "plane": 4}), LOCAL)
    assert labels.class_names == ("plane", "ship", "train")


def test_folders_of_which_only_some_are_splits_are_refused(tmp_path):
    for name in ("train", "val", "unlabelled"):
        write_folder(LOCAL, f"{tmp_path}/{name}", {"ice": 4, "sand": 4})
    with pytest.raises(
        ConfigError, match=r"folders of splits \(train, val\) beside unlabelled; move what is"
    ):
        read_labels(str(tmp_path), LOCAL)


def test_an_image_of_a_split_without_a_class_is_told(tmp_path):
    write_folder(LOCAL, f"{tmp_path}/train", {"ice": 4})
    (tmp_path / "train" / "stray.tif").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"stray.tif is in no class's folder: move it to .*/train/<class>/"):
        read_labels(str(tmp_path), LOCAL)


@pytest.mark.server
def test_a_class_without_a_name_is_passed_over():
    with s3_with("lab//x/1.tif", *(f"lab/{label}/{n}.tif" for label in "ab" for n in "123")) as (store, _):
        assert read_labels("s3://b/lab", store).class_names == ("a", "b")


@pytest.mark.server
def test_images_of_web_servers_have_etags(tmp_path):
    """A server that refuses HEAD is asked by GET; one that is busy, again; one that says nothing has none."""
    etags, asked = {"/a.tif": '"1"', "/b.tif": 'W/"2"'}, set()

    def reply(handler) -> None:
        if handler.path == "/busy.tif" and handler.path not in asked:
            asked.add(handler.path)
            handler.answer(503, b"busy")
        elif handler.path == "/b.tif" and handler.command == "HEAD":
            handler.answer(405)
        elif handler.path == "/gone.tif":
            handler.answer(404)
        elif handler.path == "/silent.tif":
            handler.answer(200, b"x")
        elif handler.path == "/dated.tif":
            handler.answer(200, b"x", Last_Modified="Mon, 01 Jun 2026 00:00:00 GMT")
        else:
            handler.answer(200, b"x", ETag=etags.get(handler.path, '"busy no more"'))

    names = ("a", "b", "busy", "dated", "silent", "gone")
    web = Store(StoreConfig(private_hosts=True, patience=5))
    with serving(reply) as url:
        rows = [{"uri": f"{url}/{name}.tif", "label": str(n % 2)} for n, name in enumerate(names)]
        (tmp_path / "list.csv").write_text("uri,label\n" + "\n".join(",".join(row.values()) for row in rows))
        found = read_labels(str(tmp_path / "list.csv"), web).chips["etag"].to_pylist()
        assert found == ["1", "2", "busy no more", "Mon, 01 Jun 2026 00:00:00 GMT", "", ""]
        before = [read_labels(str(tmp_path / "list.csv"), web).digest(split) for split in SPLITS]
        etags["/a.tif"] = '"3"'  # its split follows from its address, and so from the server's port
        after = [read_labels(str(tmp_path / "list.csv"), web).digest(split) for split in SPLITS]
        assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


def test_a_folder_without_images_is_the_users_error(store, any_root):
    store.write(f"{any_root}/ice/readme.txt", b"no image")
    with pytest.raises(StorageError, match=r"no images below .*: nothing there ends in .tif"):
        read_labels(any_root, store)


@pytest.mark.parametrize("source", ["/no/such/folder", "s3://no-such-bucket/x"])
def test_a_folder_that_is_not_there_is_the_users_error(store, source):
    with pytest.raises(StorageError, match=r"no such (bucket|folder)"):
        read_labels(source, store)


def test_a_lone_class_cannot_be_trained_on(tmp_path):
    with pytest.raises(ConfigError, match="has 1 classes in the split train"):
        read_labels(write_folder(LOCAL, str(tmp_path), {"ice": 3}), LOCAL)


@pytest.mark.skipif(not AID.is_dir(), reason="the AID scenes (../shared/data/aid150) aren't on this machine")
def test_the_aid_scenes():
    labels = read_labels(str(AID), LOCAL)
    chips_of_class = Counter(of_chip[0] for of_chip in labels.chips["labels"].to_pylist())
    assert (len(labels.chips), len(chips_of_class)) == (10_000, 30)
    assert labels.count("train") + labels.count("validation") == 6000
    assert labels.count("validation") == sum(count * 6 // 100 for count in chips_of_class.values())
    assert labels.count("test") == 4000


# --- the split


@given(
    counts=st.fixed_dictionaries({"a": st.integers(2, 60), "b": st.integers(2, 60)}),
    windows=st.integers(1, 3),
    train=st.integers(1, 99),
    validation=st.integers(0, 99),
)
@example({"a": 25, "b": 50}, 1, 28, 0)  # .28 * 25 > 7 in floats
@example({"a": 50, "b": 50}, 1, 99, 58)  # .58 * 50 < 29
@settings(deadline=None, max_examples=40)
def test_each_class_has_its_shares(tmp_path_factory, counts, windows, train, validation):
    rows = [row | {"window": WINDOW | {"x": n}} for row in labelled(counts) for n in range(windows)]
    labels = read(
        tmp_path_factory.getbasetemp(), rows, train_share=train / 100, validation_share=validation / 100
    )
    images = of_images(labels)
    for label, count in counts.items():
        found = Counter(split for name, (split,) in images.items() if name.startswith(label))
        train_side = math.ceil(Fraction(train, 100) * count)
        of_validation = math.floor(Fraction(validation, 100) * train_side)
        if validation and train_side >= 5:
            of_validation = max(of_validation, 1)
        assert [found[split] for split in SPLITS] == [
            train_side - of_validation,
            of_validation,
            count - train_side,
        ]


@given(
    images=st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), max_size=30),
    seed=st.integers(0, 3),
    unseen=st.sampled_from(["", "c"]),
    data=st.data(),
)
@settings(deadline=None, max_examples=40)
def test_the_split_is_a_partition_that_keeps_images_whole(tmp_path_factory, images, seed, unseen, data):
    images = [["a"], ["a"], ["b"], ["b"], ["c"], ["c"], *images]
    rows = [
        {"uri": f"{n}.tif", "window": WINDOW | {"x": x}, "label": label}
        for n, of_image in enumerate(images)
        for x, label in enumerate(of_image)
    ]
    folder, split = tmp_path_factory.getbasetemp(), {"seed": seed, "unseen_classes": tuple(unseen)}
    labels = read(folder, rows, **split)
    assert sum(labels.count(name) for name in SPLITS) == len(rows)
    assert {len(splits) for splits in of_images(labels).values()} == {1}
    assert not set(unseen) & {of_chip[0] for of_chip in labels.rows("train")["labels"].to_pylist()}
    assert not set(unseen) & {of_chip[0] for of_chip in labels.rows("validation")["labels"].to_pylist()}
    shuffled = read(folder, data.draw(st.permutations(rows)), **split)
    assert of_images(shuffled) == of_images(labels)
    assert shuffled.digest("train") == labels.digest("train")


def test_a_class_is_split_as_if_there_were_no_others(tmp_path):
    few = of_images(read(tmp_path, labelled({"ice": 30, "sand": 20})))
    many = of_images(read(tmp_path, labelled({"ice": 30, "lake": 40, "sand": 20})))
    assert few.items() <= many.items()
    assert few != of_images(read(tmp_path, labelled({"ice": 30, "sand": 20}), seed=1))


def test_another_validation_share_leaves_the_test_alone(tmp_path):
    rows = labelled({"ice": 30, "sand": 20})
    one, other = (read(tmp_path, rows, validation_share=share) for share in (0, 0.5))
    assert [one.count(split) for split in SPLITS] == [30, 0, 20]
    assert [other.count(split) for split in SPLITS] == [15, 15, 20]
    assert one.rows("test").equals(other.rows("test"))


def test_a_given_split_is_kept_and_lends_its_training_chips_for_validation(tmp_path):
    rows = [row | {"split": "train"} for row in labelled({"ice": 30, "sand": 20})]
    rows += [row | {"split": "test", "uri": f"t{row['uri']}"} for row in labelled({"ice": 3, "sand": 2})]
    labels = read(tmp_path, rows)
    assert [labels.count(split) for split in SPLITS] == [45, 5, 5]
    assert {name for name, splits in of_images(labels).items() if splits == {"test"}} == {
        row["uri"] for row in rows if row["split"] == "test"
    }
    assert read(tmp_path, rows, validation_share=0).count("validation") == 0
    rows[0] |= {"split": "validation"}
    assert [read(tmp_path, rows).count(split) for split in SPLITS] == [49, 1, 5]


def test_unseen_classes_are_for_the_test_alone(tmp_path):
    rows = labelled({"ice": 5, "lake": 4, "sand": 5})
    labels = read(tmp_path, rows, unseen_classes=("lake",))
    assert labels.class_names == ("ice", "lake", "sand")
    assert Counter(of_chip[0] for of_chip in labels.rows("test")["labels"].to_pylist())["lake"] == 4
    given_split = read(tmp_path, [row | {"split": "train"} for row in rows], unseen_classes=("lake",))
    assert [given_split.count(split) for split in SPLITS] == [8, 2, 4]
    with pytest.raises(ConfigError, match=r"unseen_classes: .* has no class fog; there are ice, lake, sand"):
        read(tmp_path, rows, unseen_classes=("fog", "ice"))


@pytest.mark.parametrize("split", [{"train_share": 1}, {"train_share": 0}, {"validation_share": 1}, {"x": 1}])
def test_a_split_that_is_none_is_refused(split):
    with pytest.raises(ValidationError):
        SplitConfig(**split)


# --- labels


def test_a_digest_names_the_chips_of_a_split(tmp_path):
    (tmp_path / "c.tif").write_bytes(b"one")
    labels = read(tmp_path, ROWS)
    assert len(labels.digest("test")) == 16
    assert len({labels.digest(split) for split in SPLITS}) == 3
    others = [
        [*ROWS[:3], ROWS[3] | {"window": WINDOW | {"y": 1}}],
        [*ROWS[:3], ROWS[3] | {"window": None}],
        [*ROWS, ROWS[0] | {"label": "sand", "split": "test", "uri": "d.tif"}],
    ]
    digests = {read(tmp_path, rows).digest("test") for rows in others}
    assert len(digests | {labels.digest("test")}) == 4
    assert {read(tmp_path, rows).digest("train") for rows in others} == {labels.digest("train")}
    (tmp_path / "c.tif").write_bytes(b"another")
    assert read(tmp_path, ROWS).digest("test") != labels.digest("test")


@given(
    st.lists(st.lists(st.sampled_from("abcd"), min_size=1, unique=True), max_size=20),
    st.lists(st.sampled_from("abcd"), unique=True),
    st.integers(0, 20),
)
def test_multi_hot_says_which_chip_has_which_label(given_labels, class_names, start):
    chips = pa.table({"labels": pa.array(given_labels, pa.list_(pa.string()))}).slice(start)
    hot_NC = multi_hot(chips, class_names)
    assert hot_NC.dtype == np.bool_
    assert hot_NC.shape == (len(chips), len(class_names))
    assert hot_NC.tolist() == [[name in labels for name in class_names] for labels in given_labels[start:]]
