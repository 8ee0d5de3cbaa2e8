import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import ConfigError
from pipelines.labels import read_labels

ROW = {"uri": "a.tif", "window": {"x": 0, "y": 0, "w": 8, "h": 8}, "label": "ice", "split": "train"}
ROWS = [ROW, ROW | {"label": "sand"}, ROW | {"label": "sand", "split": "test"}]


def read(store, root, rows):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    store.write(f"{root}/labels.parquet", buffer.getvalue())
    return read_labels(f"{root}/labels.parquet", store)


def test_classes_are_numbered_by_name(store, root):
    labels = read(store, root, ROWS)
    assert labels.class_names == ("ice", "sand")
    assert labels.chips["class_id"].to_pylist() == [0, 1, 1]
    assert [labels.count(split) for split in ("train", "validation", "test")] == [2, 0, 1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS, ROW | {"label": None}], "rows without label"),
        ([*ROWS, ROW | {"split": "dev"}], r"splits \['dev'\]; they are train, validation, test"),
        ([{"uri": "a.tif", "label": "ice"}], "lacks the columns window, split"),
        ([ROW], "has 1 class; training needs two"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why(store, root, rows, message):
    with pytest.raises(ConfigError, match=message):
        read(store, root, rows)
