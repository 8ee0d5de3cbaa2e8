"""The verdict as a pure function of figures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.gate.checks import checks, failed_checks
from pipelines.gate.config import GateConfig

GOOD = {
    "chips": 2000,
    "objects": 100,
    "archive_objects": 100,
    "reject_share": 0.02,
    "new_seen": 100,
    "new_reject_share": 0.1,
    "last_chips": 2000,
    "last_objects": 100,
    "chips_per_object_change": 0.1,
    "stuck_bits": 0,
    "bit_entropy": 0.9,
    "distinct_ratio": 0.5,
    "bit_drift": 0.05,
    "new_objects": 90,
    "new_chips": 1500,
    "new_bit_drift": 0.1,
    "canaries": 11,
    "canary_precision": 0.8,
}
BAD = {
    "reject_share": 0.2,
    "new_reject_share": 0.6,
    "chips_per_object_change": -0.6,
    "stuck_bits": 0.5,
    "bit_entropy": 0.1,
    "distinct_ratio": 0.0001,
    "bit_drift": 0.3,
    "new_bit_drift": 0.45,
    "canaries": 10,
    "canary_precision": 0.4,
}


def test_a_good_version_has_nothing_against_it():
    assert failed_checks(GOOD, GateConfig()) == ()


@given(st.sets(st.sampled_from(sorted(BAD)), min_size=1))
def test_all_that_fails_is_named_and_nothing_else(wrong):
    figures = GOOD | {name: BAD[name] for name in wrong}
    told = {line.split(" is ")[0] for line in failed_checks(figures, GateConfig())}
    unjudged = {"canary_precision"} if "canaries" in wrong else set()
    assert told == wrong - unjudged


def test_it_says_by_how_much():
    assert failed_checks(GOOD | {"stuck_bits": 0.5}, GateConfig()) == (
        "stuck_bits is 0.5, must be at most 0.25: the bits of the codes have collapsed, so many of them are "
        "the same in nearly all chips",
    )


@pytest.mark.parametrize("change", [-0.51, 0.51])
def test_chips_an_object_may_change_neither_way(change):
    assert len(failed_checks(GOOD | {"chips_per_object_change": change}, GateConfig())) == 1


@given(st.dictionaries(st.sampled_from(sorted(BAD)), st.floats(-1, 1)), st.integers(1, 49))
def test_a_small_archive_does_not_fail_by_chance(figures, few):
    counts = ("objects", "archive_objects", "new_seen", "last_objects", "new_objects")
    figures = {name: value for name, value in figures.items() if not name.startswith("canar")}
    assert failed_checks(GOOD | figures | dict.fromkeys(counts, few), GateConfig()) == ()


def test_no_chips_are_never_published():
    assert failed_checks({"chips": 0}, GateConfig()) == ("chips is 0, must be at least 1",)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_threshold_itself_passes(value, threshold):
    for figure, field, sign in (
        ("reject_share", "max_reject_share", 1),
        ("bit_entropy", "min_bit_entropy", -1),
    ):
        failures = failed_checks(GOOD | {figure: value}, GateConfig(**{field: threshold}))
        assert bool(failures) == (sign * value > sign * threshold)


def test_every_threshold_of_the_config_has_its_check():
    plain, other = GateConfig(), {}
    for name, field in GateConfig.model_fields.items():
        if name.startswith(("min_", "max_")) and field.annotation is float:
            other[name] = field.default / 2
    assert len(other) == 9
    before, after = checks(plain), checks(GateConfig(**other))
    changed = sum(old.threshold != new.threshold for old, new in zip(before, after, strict=True))
    of_bits = ("stuck_bits", "bit_entropy", "distinct_ratio", "bit_drift", "new_bit_drift")
    both_ways = 1  # the change of chips an object
    assert changed == len(other) + both_ways + 2 * len(of_bits), "of kind and look as of a single part"


@pytest.mark.parametrize("prefix", ["kind_", "look_"])
def test_a_part_is_judged_as_a_single_one_is(prefix):
    of_bits = ("stuck_bits", "bit_entropy", "distinct_ratio", "bit_drift", "new_bit_drift")
    parts = {f"{prefix}{name}": BAD[name] for name in of_bits}
    told = failed_checks(GOOD | parts, GateConfig())
    assert [line.split(" is ")[0] for line in told] == list(parts)
    assert all(f"the {prefix.rstrip('_')} bits" in line for line in told)
