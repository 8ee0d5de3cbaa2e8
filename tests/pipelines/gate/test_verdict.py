"""The gate's figures of real tables, against a slow reference."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.spec import CodePart, CodeSpec
from pipelines.errors import ConfigError
from pipelines.gate.config import GateConfig
from pipelines.gate.forward import Candidate, publication
from pipelines.gate.measured import DistinctCount
from pipelines.gate.verdict import ArchiveCounts, check_version
from pipelines.table.pointer import find_pointer, publish

CONFIG = GateConfig(min_objects=5, min_chips=20)
ONE_PART = CodeSpec((CodePart("kind", 32),))
TWO_PARTS = CodeSpec((CodePart("kind", 8, 3), CodePart("look", 24)))
LOOK_40 = CodePart("look", 40)


def bits_on(codes):
    return np.unpackbits(np.concatenate(list(codes.values())), axis=1, bitorder="little").mean(axis=0)


def named(verdict):
    return [line.split(" is ")[0] for line in verdict.failed]


def check(night, config=CONFIG, archive=None, code=ONE_PART):
    return check_version(night.table, night.model_id, night.table.open().version(), code, config, archive)


def publish_now(night, config=CONFIG, archive=None, code=ONE_PART):
    verdict, version = check(night, config, archive, code), night.table.open().version()
    news = publication(night.table, Candidate(version, night.model_id, "b", "r"), verdict)
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
    assert named(verdict) == ["new_bit_drift"]
    assert verdict.measured.figures["new_bit_drift"] == pytest.approx(0.5, abs=0.05)


def test_a_collapsed_network_fails_every_check_of_codes(local_night):
    local_night.commit({f"s{n}": np.zeros((8, 4), np.uint8) for n in range(40)})
    verdict = check(local_night, GateConfig(min_objects=5, min_chips=20, min_distinct_ratio=0.01))
    assert named(verdict) == ["stuck_bits", "bit_entropy", "distinct_ratio"]
    assert all("the bits of the codes have collapsed" in line for line in verdict.failed)


def test_each_part_has_figures_of_its_own(local_night):
    first, second = local_night.random_codes(10, 8), local_night.random_codes(6, 5, seed=1)
    local_night.commit(first)
    published = publish_now(local_night, code=TWO_PARTS)
    assert published.bits_on == pytest.approx(bits_on(first), abs=1e-6), "of the whole code"
    local_night.commit(second)
    every, figures = first | second, check(local_night, code=TWO_PARTS).measured.figures
    for prefix, place in (("kind_", slice(0, 8)), ("look_", slice(8, 32))):
        before, now, new = (bits_on(codes)[place] for codes in (first, every, second))
        entropy = -(now * np.log2(now) + (1 - now) * np.log2(1 - now))
        kept = [bytes(code)[place.start // 8 : place.stop // 8] for codes in every.values() for code in codes]
        expected = {
            "stuck_bits": 0,
            "worst_bit_on": now[np.argmax(np.abs(now - 0.5))],
            "bit_entropy": entropy.mean(),
            "distinct_ratio": len(set(kept)) / 110,
            "bit_drift": np.abs(now - before).mean(),
            "new_bit_drift": np.abs(new - before).mean(),
        }
        measured = {name: figures[f"{prefix}{name}"] for name in expected}
        assert measured == pytest.approx(expected, abs=1e-5)
        assert not set(expected) & set(figures), "no figure mixes the parts"


@pytest.mark.parametrize(("part", "other", "place"), [("kind", "look", 0), ("look", "kind", 1)])
def test_a_part_that_collapses_is_named(local_night, part, other, place):
    codes = local_night.random_codes(40, 8)
    for codes_NY in codes.values():
        codes_NY[:, slice(0, 1) if place == 0 else slice(1, 4)] = 0
    local_night.commit(codes)
    strict = GateConfig(min_objects=5, min_chips=20, min_distinct_ratio=0.01)
    verdict = check(local_night, strict, code=TWO_PARTS)
    assert named(verdict) == [f"{part}_{name}" for name in ("stuck_bits", "bit_entropy", "distinct_ratio")]
    assert all(f"the {part} bits have collapsed" in line for line in verdict.failed)
    assert not any(other in line for line in verdict.failed)


def test_new_chips_whose_look_drifts_are_named(local_night):
    local_night.commit(local_night.random_codes(40, 8))
    publish_now(local_night, code=TWO_PARTS)
    fresh = local_night.random_codes(8, 8, seed=1)
    for codes_NY in fresh.values():
        codes_NY[:, 1:] = 255
    local_night.commit(fresh)
    verdict = check(local_night, code=TWO_PARTS)
    assert named(verdict) == ["look_new_bit_drift"]
    assert verdict.failed[0].endswith(
        ": the look bits of the new chips have drifted since the last published version"
    )


def test_a_model_without_a_kind_part_has_the_figures_of_one_part(local_night):
    local_night.commit({f"s{n}": np.zeros((8, 4), np.uint8) for n in range(40)})
    look_alone = CodeSpec((CodePart("look", 32),))
    assert check(local_night, code=look_alone) == check(local_night)
    assert named(check(local_night, code=look_alone)) == ["stuck_bits", "bit_entropy"]


def test_models_of_other_codes_in_one_table_are_not_compared(night):
    """The old model's codes have one part; the new one's two, and another length."""
    new, code = type(night)(night.table, "demo@ba9876543210"), CodeSpec((*TWO_PARTS.parts[:1], LOOK_40))
    night.commit(night.random_codes(10, 8))
    publish_now(night)
    new.commit(night.random_codes(10, 8, num_bytes=6))
    first = check(new, code=code)
    assert first.failed == ()
    assert not [name for name in first.measured.figures if name.endswith("drift")], "another model's bits"
    publish_now(new, code=code)
    new.commit({uri: codes_NY | 1 for uri, codes_NY in night.random_codes(8, 8, 1, num_bytes=6).items()})
    second = check(new, code=code)
    assert second.measured.figures["kind_new_bit_drift"] > 0.05, "the first bit of each byte is on"
    night.commit(night.random_codes(8, 8, seed=1))
    again = check(night).measured.figures
    assert again["last_chips"] == 80
    assert again["new_bit_drift"] < 0.15, "compared with its own last version, not with the new model's"


def test_rejects_of_the_archive_and_of_the_night(night):
    night.commit(night.random_codes(40, 2), rejected=("r1",))
    publish_now(night, archive=ArchiveCounts(41, 1))
    again = check(night, archive=ArchiveCounts(41, 1)).measured.figures
    assert (again["reject_share"], "new_seen" in again) == (1 / 41, False), "nothing is new"
    night.commit(night.random_codes(2, 2, seed=1), rejected=tuple(f"r{n}" for n in range(2, 11)))
    verdict = check(night, archive=ArchiveCounts(200, 10))
    assert verdict.measured.figures["new_seen"] == 11
    assert verdict.measured.figures["new_reject_share"] == pytest.approx(9 / 11)
    assert verdict.failed == (
        "new_reject_share is 0.8182 (9 of 11; with 95% confidence 0.5299 or more), must be at most 0.5",
    )


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


def test_canaries_are_compared_with_the_weights_of_the_parts(local_night, tmp_path):
    """One kind bit weighs as much as three look bits: by unweighted bits the other label is nearer."""
    codes_NY = np.array([[0, 0, 0, 0], [0, 3, 0, 0], [1, 0, 0, 0], [1, 3, 0, 0]], np.uint8)
    local_night.commit({"c": codes_NY})
    table = pa.table({"chip_id": [f"c-{n}" for n in range(4)], "label": ["a", "a", "b", "b"]})
    pa.csv.write_csv(table, f"{tmp_path}/c.csv")
    config = GateConfig(canary=f"{tmp_path}/c.csv", canary_k=1)
    assert check(local_night, config, code=TWO_PARTS).measured.figures["canary_precision"] == 1
    assert check(local_night, config).measured.figures["canary_precision"] == 0


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
