import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import StoreConfig
from pipelines.errors import ConfigError, StorageError
from pipelines.labels.dataset import SPLITS, read_labels
from pipelines.storage.store import Store
from tests.pipelines.labels.rows import ROWS, WINDOW

LOCAL = Store(StoreConfig())


def without(*columns):
    return [{name: value for name, value in row.items() if name not in columns} for row in ROWS]


def write_manifest(store, folder, rows):
    buffer = io.BytesIO()
    pq.write_table(rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows), buffer)
    store.write(f"{folder}/labels.parquet", buffer.getvalue())
    return f"{folder}/labels.parquet"


def read(folder, rows):
    return read_labels(write_manifest(LOCAL, folder, rows), LOCAL)


def read_csv(folder, text):
    LOCAL.write(f"{folder}/labels.csv", text.encode())
    return read_labels(f"{folder}/labels.csv", LOCAL)


def test_a_manifest_is_read_as_it_is(store, any_root):
    for name in ("a.tif", "b.tif"):
        store.write(f"{any_root}/{name}", b"not read")
    etags = {info.uri: info.etag for info in store.list(any_root)}
    labels = read_labels(write_manifest(store, any_root, ROWS), store)
    assert labels.class_names == ("ice", "sand")
    rows = labels.chips.to_pylist()
    uris = [f"{any_root}/{row['uri']}" for row in ROWS]
    assert [row["row"] for row in rows] == [0, 1, 2, 3]
    assert [row["uri"] for row in rows] == uris
    assert [row["etag"] for row in rows] == [*(etags[uri] for uri in uris[:3]), ""]  # there is no c.tif
    assert [row["window"] for row in rows] == [row["window"] for row in ROWS]
    assert [row["labels"] for row in rows] == [[row["label"]] for row in ROWS]
    assert [labels.count(split) for split in SPLITS] == [3, 0, 1]
    assert labels.rows("test")["uri"].to_pylist() == [f"{any_root}/c.tif"]


def test_csv_and_parquet_say_the_same(tmp_path):
    lines = [
        f"{row['uri']},{row['window']['x']},0,8,8,{row['label']},{row['split']},what else" for row in ROWS
    ]
    text = "\n".join(["uri,x,y,w,h,label,split,comment", *lines])
    assert read_csv(tmp_path, text).chips.equals(read(tmp_path, ROWS).chips)
    assert read_csv(tmp_path, "\ufeff" + text).chips.equals(read(tmp_path, ROWS).chips)


def test_relative_uris_go_from_the_manifests_folder(store, any_root):
    for name in ("ice/000", "ice/001", "sand/000", "sand/001"):
        store.write(f"{any_root}/images/{name}.tif", b"not read")
    names = ["../images/ice/000.tif", f"{any_root}/images/ice/001.tif", "../images/./sand/000.tif"]
    names += [f"{'' if '://' in any_root else 'file://'}{any_root}/images/sand/001.tif"]
    rows = [{"uri": name, "label": "sand" if "sand" in name else "ice"} for name in names]
    labels = read_labels(write_manifest(store, f"{any_root}/tables", rows), store)
    listed = {info.uri: info.etag for info in store.list(f"{any_root}/images")}
    assert dict(zip(labels.chips["uri"].to_pylist(), labels.chips["etag"].to_pylist(), strict=True)) == listed


def test_a_local_manifest_may_be_named_from_the_current_folder(tmp_path, monkeypatch):
    write_manifest(LOCAL, tmp_path, ROWS)
    monkeypatch.chdir(tmp_path)
    assert read_labels("labels.parquet", LOCAL).chips["uri"][0].as_py() == f"{tmp_path}/a.tif"


def test_a_chip_may_have_several_labels(tmp_path):
    rows = [{"uri": f"{n}.tif", "labels": ["ice", "sand", "ice"] if n % 2 else ["sand"]} for n in range(6)]
    labels = read(tmp_path, rows)
    assert labels.class_names == ("ice", "sand")
    assert labels.chips["labels"].to_pylist() == [["sand"], ["ice", "sand"]] * 3
    text = "uri,labels\n" + "".join(f"{n}.tif,{'ice; sand;ice;' if n % 2 else 'sand'}\n" for n in range(6))
    assert read_csv(tmp_path, text).chips.equals(labels.chips)


def test_numbers_are_labels_like_any_other(tmp_path):
    rows = [row | {"label": number} for row, number in zip(ROWS, (7, 7, 10, 10), strict=True)]
    assert read(tmp_path, rows).class_names == ("10", "7")
    text = "uri,label\n" + "".join(f"{n}.tif,{'01' if n % 2 else 'NA'}\n" for n in range(4))
    assert read_csv(tmp_path, text).class_names == ("01", "NA")


def test_types_that_other_writers_choose_are_read(tmp_path):
    expected = read(tmp_path, ROWS).chips
    table = pa.table(
        {
            "uri": pa.array([row["uri"] for row in ROWS], pa.large_string()),
            "window": pa.array(
                [row["window"] for row in ROWS], pa.struct([(side, pa.int64()) for side in "hwyx"])
            ),
            "labels": pa.array([[row["label"]] for row in ROWS], pa.large_list(pa.large_string())),
            "split": pa.array([row["split"] for row in ROWS]).dictionary_encode(),
        }
    )
    assert read(tmp_path, table).chips.equals(expected)


@pytest.mark.parametrize(
    "columns",
    [
        "x,y,width,height",
        "X,Y,W,H",
        "window_x,window_y,window_w,window_h",
        "col_off,row_off,width,height",
        "xmin,ymin,xmax,ymax",
    ],
)
def test_a_window_under_other_names_is_not_ignored(tmp_path, columns):
    text = f"uri,{columns},label\n" + "".join(f"{n}.tif,0,0,8,8,{'ab'[n % 2]}\n" for n in range(4))
    wrong = ", ".join(name for name in columns.split(",") if name not in ("x", "y", "w", "h"))
    with pytest.raises(ConfigError, match=f"{wrong} look like a window; name its columns x, y, w and h"):
        read_csv(tmp_path, text)


def test_a_window_in_one_column_of_a_csv_says_how_to_write_it(tmp_path):
    text = "uri,window,label\n" + "".join(f'{n}.tif,"0,0,8,8",{"ab"[n % 2]}\n' for n in range(4))
    with pytest.raises(ConfigError, match="in CSV write four columns of these names"):
        read_csv(tmp_path, text)


def test_the_sizes_of_whole_images_are_no_window(tmp_path):
    text = "uri,width,height,label\n" + "".join(f"{n}.tif,8,8,{'ab'[n % 2]}\n" for n in range(4))
    assert read_csv(tmp_path, text).chips["window"].null_count == 4


def test_hidden_files_are_no_images(tmp_path):
    text = "uri,label\n" + "".join(f"{n}.tif,{'ab'[n % 2]}\n._{n}.tif,{'ab'[n % 2]}\n" for n in range(4))
    uris = read_csv(tmp_path, text).chips["uri"].to_pylist()
    assert uris == [f"{tmp_path}/{n}.tif" for n in range(4)]


def test_without_a_window_a_chip_is_the_whole_image(tmp_path):
    rows = [ROWS[0], ROWS[1] | {"window": None}, *ROWS[2:]]
    windows = [row["window"] for row in rows]
    assert read(tmp_path, rows).chips["window"].to_pylist() == windows
    images = [{"uri": f"{n}.tif", "label": "ice" if n % 2 else "sand"} for n in range(4)]
    for whole in (images, [row | {"window": None} for row in images]):
        assert read(tmp_path, whole).chips["window"].to_pylist() == [None] * 4
    text = "uri,label,x,y,w,h\na.tif,ice,,,,\na.tif,ice,0,0,8,8\nb.tif,sand,,,,\nc.tif,sand,,,,\n"
    assert read_csv(tmp_path, text).chips["window"].to_pylist() == [None, WINDOW, None, None]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS, ROWS[0] | {"uri": "d.tif", "label": None}], r"rows without label \(1 of 5\); fill them in"),
        ([*ROWS, ROWS[0] | {"uri": ""}], "rows without uri"),
        ([*ROWS, ROWS[0] | {"uri": "d.tif", "split": None}], "rows without split"),
        ([row | {"labels": [""]} for row in without("label")], "rows without labels"),
        ([row | {"labels": None} for row in without("label")], "rows without labels"),
        ([*ROWS, ROWS[0] | {"uri": "d.tif", "split": "dev"}], "splits dev; they are train, validation, test"),
        (
            [row | {"split": f"part {n}"} for n, row in enumerate(ROWS)],
            "splits part 0, part 1, part 2 and 1 more",
        ),
        (without("uri", "label"), "lacks the columns uri, label; add or rename them"),
        (without("label"), "lacks the columns label;"),
        ([row | {"labels": ["ice"]} for row in ROWS], "label and labels; leave one of them out"),
        ([row | {"labels": [{"name": "ice"}]} for row in without("label")], "column labels must be list"),
        (pa.Table.from_pylist(ROWS).slice(0, 0), "no rows; add one for each labelled chip"),
        (ROWS[:2], "has 1 classes in the split train; training needs two at least"),
        ([row | {"split": "test"} for row in ROWS], "has 0 classes in the split train"),
        ([*ROWS, ROWS[1]], r"more than once: .*/a.tif \(8, 0, 8, 8\); leave one row of each"),
        ([*without("window"), *without("window")], r"/a.tif \(all of it\), .*; leave one row"),
        ([*ROWS, ROWS[0] | {"window": WINDOW | {"w": 0}}], r"a.tif is \(0, 0, 0, 8\); x and y must be 0 at"),
        ([*ROWS, ROWS[0] | {"window": WINDOW | {"x": -1}}], r"a.tif is \(-1, 0, 8, 8\)"),
        ([*ROWS, ROWS[0] | {"window": WINDOW | {"h": None}}], r"a.tif is \(0, 0, 8, None\)"),
        ([row | {"window": {"x": 0, "w": 8}} for row in ROWS], "window.y, window.h is missing"),
        ([row | {"window": "0,0,8,8"} for row in ROWS], "window must be a struct of x, y, w and h"),
        ([row | {"window": WINDOW | {"x": 2**40}} for row in ROWS], "column window.x must be int32"),
        ([row | {"x": 3} for row in without("window")], "y, w, h is missing"),
        ([*ROWS, ROWS[0] | {"uri": "d.tif", "label": "lake"}], "lake needs two chips at least; add some"),
        (
            ROWS + [ROWS[0] | {"uri": f"{n}.tif", "label": f"lake {n}"} for n in range(7)],
            "lake 0, lake 1, lake 2, lake 3, lake 4 and 2 more need two chips at least",
        ),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why(tmp_path, rows, message):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "can't be read as CSV: Empty CSV file"),
        ("uri,label\na.tif\n", "can't be read as CSV: .*Expected 2 columns, got 1"),
        ("uri,label\na.tif,ice\nb.tif,\n", r"rows without label \(1 of 2\)"),
        ("uri,labels\na.tif,ice\nb.tif,;\n", "rows without labels"),
        ("uri,label,x,y,w,h\na.tif,ice,1,2,3,\n", r"a.tif is \(1, 2, 3, None\)"),
        ("uri,label,x,y,w,h\na.tif,ice,1,2,3,4.5\n", "column h must be int32: .*4.5"),
        ("uri,label,label\na.tif,ice,ice\n", "a column twice"),
    ],
)
def test_a_csv_that_cannot_be_used_says_why(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read_csv(tmp_path, text)


@pytest.mark.parametrize("name", ["labels.Parquet", "labels.CSV"])
def test_a_file_of_another_kind_is_no_manifest(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\xd8\xff\xe0\n\xff")
    with pytest.raises(ConfigError, match=r"can't be read as (CSV|Parquet): "):
        read_labels(f"{tmp_path}/{name}", LOCAL)


def test_a_manifest_that_is_not_there_is_the_users_error(store, any_root):
    with pytest.raises(StorageError, match=r"labels.csv doesn't exist"):
        read_labels(f"{any_root}/labels.csv", store)


def test_objects_in_places_that_are_not_there_have_no_etag(store, tmp_path):
    places = ["s3://no-such-bucket/a.tif", "/no/such/folder/b.tif", "http://127.0.0.1:1/c.tif"]
    rows = [{"uri": f"{place}{n}", "label": str(n)} for place in places for n in range(2)]
    impatient = Store(store.config.model_copy(update={"patience": 0, "private_hosts": True}))
    labels = read_labels(write_manifest(store, str(tmp_path), rows), impatient)
    assert set(labels.chips["etag"].to_pylist()) == {""}
