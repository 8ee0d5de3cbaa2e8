"""The gate's figures of real tables, against a slow reference."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import ConfigError
from pipelines.pointer import find_pointer, publish
from pipelines.publish.config import GateConfig
from pipelines.publish.distinct import DistinctCount
from pipelines.publish.forward import publication
from pipelines.publish.gate import ArchiveCounts, check_version

CONFIG = GateConfig(min_objects=5, min_chips=20)


def bits_on(codes):
    return np.unpackbits(np.concatenate(list(codes.values())), axis=1, bitorder="little").mean(axis=0)


def check(night, config=CONFIG, archive=None):
    return check_version(night.table, night.model_id, night.table.open().version(), config, archive)


def publish_now(night, config=CONFIG, archive=None):
    verdict, version = check(night, config, archive), night.table.open().version()
    news = publication(verdict, version, night.model_id, "b", "r")
    return publish(night.table.uri, night.table.store, news, find_pointer(night.table.uri, night.table.store))


def test_figures_are_those_of_the_slow_reference(night):
    first, second = night.random_codes(10, 8), night.random_codes(6, 5, seed=1)
    night.commit(first)
    published = publish_now(night)
    assert published.bits_on == pytest.approx(bits_on(first), abs=1e-6)
    assert "bit_drift" not in published.gate, "there was nothing to compare with"
    night.commit(second)
    figures = check(night).measured.figures
    every = first | second
    expected = {
        "chips": 110,
        "objects": 16,
        "chips_per_object": 110 / 16,
        "chips_per_object_change": 110 / 16 / 8 - 1,
        "distinct_ratio": len({bytes(code) for codes in every.values() for code in codes}) / 110,
        "bit_drift": np.abs(bits_on(every) - bits_on(first)).mean(),
        "new_chips": 30,
        "new_objects": 6,
        "new_bit_drift": np.abs(bits_on(second) - bits_on(first)).mean(),
        "last_chips": 80,
        "last_objects": 10,
        "stuck_bits": 0,
    }
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert check(night).failed == ()


def test_collapsed_new_codes_are_held_back_though_the_whole_looks_well(local_night):
    local_night.commit(local_night.random_codes(40, 8))
    publish_now(local_night)
    local_night.commit({f"new{n}": np.zeros((8, 4), np.uint8) for n in range(8)})
    verdict = check(local_night)
    assert [line.split(" is ")[0] for line in verdict.failed] == ["new_bit_drift"]
    assert verdict.measured.figures["new_bit_drift"] == pytest.approx(0.5, abs=0.05)


def test_a_collapsed_network_fails_every_check_of_codes(local_night):
    local_night.commit({f"s{n}": np.zeros((8, 4), np.uint8) for n in range(40)})
    named = [
        line.split(" is ")[0]
        for line in check(
            local_night, GateConfig(min_objects=5, min_chips=20, min_distinct_ratio=0.01)
        ).failed
    ]
    assert named == ["stuck_bits", "bit_entropy", "distinct_ratio"]


def test_rejects_of_the_archive_and_of_the_night(night):
    night.commit(night.random_codes(40, 2), rejected=("r1",))
    publish_now(night, archive=ArchiveCounts(41, 1))
    again = check(night, archive=ArchiveCounts(41, 1)).measured.figures
    assert (again["reject_share"], "new_seen" in again) == (1 / 41, False), "nothing is new"
    night.commit(night.random_codes(2, 2, seed=1), rejected=("r2", "r3", "r4"))
    verdict = check(night, archive=ArchiveCounts(46, 4))
    assert (verdict.measured.figures["new_seen"], verdict.measured.figures["new_reject_share"]) == (5, 0.6)
    assert verdict.failed == ("new_reject_share is 0.6, must be at most 0.5",)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_canaries(local_night, tmp_path, ending):
    near = {"a": np.full((6, 4), 0, np.uint8), "b": np.full((6, 4), 255, np.uint8)}
    local_night.commit(near | local_night.random_codes(3, 3))
    chips = [f"{uri}-{number}" for uri in near for number in range(6)]

    def precision(labels):
        table = pa.table({"chip_id": [*chips, "gone"], "label": [*labels, "x"]})
        uri = f"{tmp_path}/canary.{ending}"
        if ending == "csv":
            pa.csv.write_csv(table, uri)
        else:
            pa.parquet.write_table(table, uri)
        verdict = check(local_night, GateConfig(canary=uri, canary_k=5))
        assert verdict.measured.figures["canaries"] == 12
        return verdict.measured.figures["canary_precision"], verdict.failed

    assert precision(["a"] * 6 + ["b"] * 6) == (1, ())
    value, failed = precision(["a", "b"] * 6)
    assert value == pytest.approx(0.4)
    assert failed == ("canary_precision is 0.4, must be at least 0.5",)


def test_canaries_that_are_gone_fail(local_night, tmp_path):
    local_night.commit(local_night.random_codes(1, 3))
    table = pa.table({"chip_id": ["s0-0000-1", "x", "y"], "label": ["a", "a", "b"]})
    pa.csv.write_csv(table, f"{tmp_path}/c.csv")
    failed = check(local_night, GateConfig(canary=f"{tmp_path}/c.csv", canary_k=2)).failed
    assert failed == ("canaries is 1, must be at least 3",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "doesn't exist"),
        ("c.csv", b"chip,label\na,b\n", "must be Parquet or CSV with the columns chip_id, label"),
        ("c.parquet", b"torn", "must be Parquet or CSV"),
        ("c.csv", b"chip_id,label\na,b\n", "canary_k needs 11 at least"),
    ],
)
def test_a_bad_canary_set_is_told(local_night, tmp_path, name, content, message):
    local_night.commit(local_night.random_codes(1, 1))
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        check(local_night, GateConfig(canary=f"{tmp_path}/{name}"))


@given(st.lists(st.lists(st.text(max_size=3), max_size=50), max_size=5))
def test_few_strings_are_counted_exactly(batches):
    counted = DistinctCount()
    for batch in batches:
        counted.add(pa.array(batch, pa.string()))
    assert counted.count() == len({text for batch in batches for text in batch})


def test_many_strings_are_estimated_closely():
    counted = DistinctCount()
    for start in range(0, 300_000, 100_000):
        counted.add(pa.array([f"uri-{number}" for number in range(start, start + 150_000)]))
    assert counted.count() == pytest.approx(350_000, rel=0.03)
