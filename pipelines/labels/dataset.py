"""Labelled chips: a folder for each class, or a manifest; and which of them train, validate and test.

Shapes: N chips, C classes. A window is (x, y, w, h) in pixels of the source; none: the whole image.
"""

import hashlib
import json
import math
import posixpath
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from numpy.typing import NDArray
from pydantic import Field

from pipelines.config import StageConfig
from pipelines.errors import ConfigError, StorageError
from pipelines.labels.label_manifest import MANIFESTS, SIDES, LabelledChip, read_manifest
from pipelines.storage.listings import ObjectInfo, PassedOver
from pipelines.uris import absolute

if TYPE_CHECKING:
    # takes a second to import, which `--help` shouldn't wait for: its configs import SplitConfig
    from pipelines.storage.store import Store

log = structlog.get_logger()

SPLITS = ("train", "validation", "test")
SUFFIXES = (".tif", ".tiff", ".jp2", ".jpg", ".jpeg", ".png")
"""Endings of images in a class's folder, in lower case; other files are passed over."""

_SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_TRAIN_FOR_VALIDATION = 5  # with so many training images of a class, at least one is for validation
_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("uri", pa.string()),
        ("etag", pa.string()),
        ("window", pa.struct([(side, pa.int32()) for side in SIDES])),
        ("labels", pa.list_(pa.string())),
        ("split", pa.string()),
    ]
)


class SplitConfig(StageConfig):
    """How labelled chips are split if the source doesn't say; windows of one image stay together."""

    train_share: float = Field(0.6, gt=0, lt=1)
    """Share of each class's images that train or validate, rounded up; the others are for the test [0..1]"""
    validation_share: float = Field(0.1, ge=0, lt=1)
    """Share of those for validation, rounded down, but 1 of 5 at least; also taken from a manifest's train
    rows if none of its rows is for validation; 0: none [0..1]"""
    unseen_classes: tuple[str, ...] = ()
    """Classes kept out of training: all their chips are for the test"""
    seed: int = 0
    """Another seed, another split"""


_DEFAULT_SPLIT = SplitConfig()


@dataclass(frozen=True)
class Labels:
    """Labelled chips and their classes, without pixels."""

    chips: pa.Table
    """row (int64: position, from 0), uri, etag (empty: no such object), window (struct of x, y, w, h, int32;
    null: the whole image), labels (list<string>, one at least), split."""
    class_names: tuple[str, ...]
    """The classes of all splits, sorted."""

    def rows(self, split: str) -> pa.Table:
        """Return the chips of a split."""
        return self.chips.filter(pc.equal(self.chips["split"], split))

    def count(self, split: str) -> int:
        """Return how many chips a split has."""
        return len(self.rows(split))

    def digest(self, split: str) -> str:
        """Return 16 hex digits that name a split: a hash of its chips' uri, etag, window and labels.

        It doesn't depend on the order of the rows. If an object changes, so does the digest.
        """
        columns = self.rows(split).select(["uri", "etag", "window", "labels"])
        lines = sorted(json.dumps(row, sort_keys=True) for row in columns.to_pylist())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def multi_hot(chips: pa.Table, class_names: Sequence[str]) -> NDArray[np.bool_]:
    """Return labels_NC: whether a chip has a label. Labels that aren't among the classes are left out."""
    labels = chips["labels"].combine_chunks()
    hot_NC = np.zeros((len(chips), len(class_names)), np.bool_)
    rows = pc.list_parent_indices(labels).to_numpy(zero_copy_only=False)
    classes = pc.index_in(pc.list_flatten(labels), pa.array(class_names, pa.string()))
    known = classes.is_valid().to_numpy(zero_copy_only=False)
    hot_NC[rows[known], classes.drop_null().to_numpy(zero_copy_only=False)] = True
    return hot_NC


def read_labels(source: str, store: "Store", split: SplitConfig = _DEFAULT_SPLIT) -> Labels:
    """Return the labelled chips of a source, their classes and splits; no pixel is read.

    A ``source`` that ends in .parquet or .csv is a manifest (`read_manifest` says its columns). Any other
    source is a folder with a folder for each class; images may lie deeper in it. If the folders are named
    ``train``, ``val`` and ``test``, or similarly, they are the splits, each with a folder for each class.
    Hidden files and folders are passed over.

    If the source doesn't say the splits, a seeded hash of each image's name in the source decides, class by
    class. An image with chips of several classes counts as one of the rarest class, a chip with several
    labels as one of its first. If any chip of an image is of an unseen class, the whole image is for the
    test.

    Raises ConfigError if the source lacks something that training needs, StorageError if nothing is there.
    """
    source = absolute(source)
    of_manifest = posixpath.splitext(source)[1].lower() in MANIFESTS
    chips = read_manifest(source, store) if of_manifest else _list_folder(source, store)
    _check_chips(source, chips)
    chips_of_class = Counter(label for chip in chips for label in chip.labels)
    _check_classes(source, chips_of_class, split.unseen_classes)
    splits = _splits(chips, split)
    trained = {
        label
        for chip, of_chip in zip(chips, splits, strict=True)
        if of_chip == "train"
        for label in chip.labels
    }
    if len(trained) < 2:
        raise ConfigError(
            f"{source} has {len(trained)} classes in the split train; training needs two at least"
        )
    return Labels(_table(chips, splits), tuple(sorted(chips_of_class)))


def _table(chips: Sequence[LabelledChip], splits: Sequence[str]) -> pa.Table:
    columns = {
        "row": range(len(chips)),
        "uri": [chip.uri for chip in chips],
        "etag": [chip.etag for chip in chips],
        "window": [chip.window and dict(zip(SIDES, chip.window, strict=True)) for chip in chips],
        "labels": [chip.labels for chip in chips],
        "split": splits,
    }
    return pa.table(columns, schema=_SCHEMA)


def _list_folder(source: str, store: "Store") -> list[LabelledChip]:
    """Return the images of a folder that has a folder for each class, or a folder of those for each split."""
    folder = source.rstrip("/")
    images = _list_images(folder, store)
    if not images:
        raise StorageError(
            f"no images below {source}: nothing there ends in {', '.join(SUFFIXES)}; "
            "give a folder with a folder for each class, or a manifest (.parquet, .csv)"
        )
    splits = _split_folders(source, {name.partition("/")[0] for name in images if "/" in name})
    chips = []
    for name, info in images.items():
        top, _, below = name.partition("/")
        path = below if splits else name
        label, slash, _ = path.partition("/")
        if not slash:
            place = f"{folder}/{top}" if splits else folder
            raise ConfigError(
                f"{info.uri} is in no class's folder: move it to {place}/<class>/, "
                "or name each image's class in a manifest (.parquet, .csv)"
            )
        chips.append(LabelledChip(info.uri, name, info.etag, None, (label,), splits.get(top)))
    return chips


def _list_images(folder: str, store: "Store") -> dict[str, ObjectInfo]:
    """Return the images below a folder by name, sorted; hidden files, pipes and so on are passed over."""
    passed_over = PassedOver()
    images = {}
    for page in store.pages(folder):
        passed_over.merge(page.passed_over)
        for info in page.objects:
            name = info.uri.removeprefix(f"{folder}/")
            if not passed_over.is_image(info.uri, name, SUFFIXES):
                continue
            if name.startswith("/"):
                passed_over.add("no_name", info.uri, "of a folder without a name")
            else:
                images[name] = info
    if passed_over:
        log.warning("passed over", counts=dict(passed_over.counts), examples=passed_over.examples)
    return dict(sorted(images.items()))


def _split_folders(source: str, folders: set[str]) -> dict[str, str]:
    """Return which split each of the folders is; empty if they are classes.

    They are splits if all have names of splits. Raises ConfigError if folders of several splits stand beside
    others, which would then be neither splits nor classes.
    """
    splits = {
        folder: _SPLIT_FOLDERS[folder.lower()] for folder in folders if folder.lower() in _SPLIT_FOLDERS
    }
    others = sorted(folders - set(splits))
    if not others:
        return splits
    if len(set(splits.values())) > 1:
        raise ConfigError(
            f"{source} has folders of splits ({', '.join(sorted(splits))}) beside {_some(others, 5)}; "
            "move what is no split elsewhere, or name each image's split in a manifest (.parquet, .csv)"
        )
    return {}


def _check_chips(source: str, chips: Sequence[LabelledChip]) -> None:
    """Raise ConfigError on an unknown split, and on a window that the source has more than once."""
    unknown = sorted({chip.split for chip in chips if chip.split is not None} - set(SPLITS))
    if unknown:
        raise ConfigError(f"{source} has splits {_some(unknown, 3)}; they are {', '.join(SPLITS)}")
    counts = Counter((chip.uri, chip.window) for chip in chips)
    repeats = [f"{uri} {window or '(all of it)'}" for (uri, window), count in counts.items() if count > 1]
    if repeats:
        raise ConfigError(
            f"{source} has chips more than once: {_some(repeats, 3)}; leave one row of each, "
            "its labels in the column labels"
        )


def _some(names: Sequence[str], count: int) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def _check_classes(source: str, chips_of_class: Counter[str], unseen: Sequence[str]) -> None:
    """Raise ConfigError on a class with a single chip, and on an unseen class that the source hasn't."""
    single = sorted(label for label, count in chips_of_class.items() if count == 1)
    if single:
        raise ConfigError(
            f"{source}: {_some(single, 5)} {'needs' if len(single) == 1 else 'need'} two chips at least; "
            "add some or leave the class out"
        )
    unknown = sorted(set(unseen) - set(chips_of_class))
    if unknown:
        raise ConfigError(
            f"unseen_classes: {source} has no class {_some(unknown, 5)}; "
            f"there are {_some(sorted(chips_of_class), 10)}"
        )


def _splits(chips: Sequence[LabelledChip], config: SplitConfig) -> list[str]:
    """Return the split of each chip: the source's if it says one, else by shares."""
    unseen = set(config.unseen_classes)
    if chips[0].split is None:
        held_out = {chip.uri for chip in chips if unseen.intersection(chip.labels)}
        seen = [chip for chip in chips if chip.uri not in held_out]
        shared_out = _share_out(seen, Fraction(str(config.train_share)), config)
        return [shared_out.get(chip.uri, "test") for chip in chips]
    splits = ["test" if unseen.intersection(chip.labels) else str(chip.split) for chip in chips]
    if "validation" in splits:
        return splits
    rows = list(zip(chips, splits, strict=True))
    shared_out = _share_out([chip for chip, split in rows if split == "train"], Fraction(1), config)
    return [shared_out[chip.uri] if split == "train" else split for chip, split in rows]


def _share_out(chips: Sequence[LabelledChip], train_share: Fraction, config: SplitConfig) -> dict[str, str]:
    """Return the split of each image, by URI: each class is divided by the shares of the config."""
    splits = {}
    for uris in _images_by_class(chips, config.seed):
        train = math.ceil(train_share * len(uris))
        # as fractions, as .1 of 30 must be 3, while the product of floats may be a little less
        validation = math.floor(Fraction(str(config.validation_share)) * train)
        if config.validation_share and train >= _TRAIN_FOR_VALIDATION:
            validation = max(validation, 1)
        for rank, uri in enumerate(uris):
            splits[uri] = "validation" if rank < validation else "train" if rank < train else "test"
    return splits


def _images_by_class(chips: Sequence[LabelledChip], seed: int) -> list[list[str]]:
    """Return the URIs of each class's images, in the order of a hash of seed and name."""
    chips_of_class = Counter(chip.labels[0] for chip in chips)
    names = {chip.uri: chip.name for chip in sorted(chips, key=lambda chip: chip.name)}
    rarest: dict[str, tuple[int, str]] = {}
    for chip in chips:
        rank = (chips_of_class[chip.labels[0]], chip.labels[0])
        rarest[chip.uri] = min(rank, rarest.get(chip.uri, rank))
    images: dict[tuple[int, str], list[str]] = defaultdict(list)
    for uri in sorted(names, key=lambda uri: hashlib.sha256(f"{seed}#{names[uri]}".encode()).digest()):
        images[rarest[uri]].append(uri)
    return list(images.values())
