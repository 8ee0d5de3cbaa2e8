"""The verdict as a pure function of figures."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.gate.checks import checks, failed_checks, skipped_checks
from pipelines.gate.config import GateConfig
from pipelines.gate.margin import lower_bound

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
    counts = ("objects", "last_objects", "new_objects")
    left_out = ("canar", "reject", "new_reject")
    figures = {name: value for name, value in figures.items() if not name.startswith(left_out)}
    assert failed_checks(GOOD | figures | dict.fromkeys(counts, few), GateConfig()) == ()


def test_no_chips_are_never_published():
    assert failed_checks({"chips": 0}, GateConfig()) == ("chips is 0, must be at least 1",)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_threshold_itself_passes(value, threshold):
    failures = failed_checks(GOOD | {"bit_entropy": value}, GateConfig(min_bit_entropy=threshold))
    assert bool(failures) == (value < threshold)


@given(st.integers(1, 300).flatmap(lambda of: st.tuples(st.integers(1, of), st.just(of))))
def test_the_lower_bound_is_the_share_at_which_so_many_come_one_time_in_twenty(counted):
    hits, of = counted
    bound = lower_bound(hits, of)
    tail = sum(math.comb(of, k) * bound**k * (1 - bound) ** (of - k) for k in range(hits, of + 1))
    assert tail == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize(
    ("rejected", "objects", "fails"),
    [
        (0, 5, False),
        (1, 1, False),
        (1, 5, False),
        (2, 6, False),
        (3, 11, False),
        (4, 11, True),
        (6, 11, True),
        (9, 50, False),
        (10, 50, True),
        (116, 1000, False),
        (117, 1000, True),
    ],
)
def test_few_objects_have_a_margin_and_many_rejects_fail_however_few_the_objects(rejected, objects, fails):
    figures = GOOD | {"reject_share": rejected / objects, "archive_objects": objects}
    assert bool(failed_checks(figures, GateConfig())) == fails


def test_a_failed_share_is_told_with_its_counts_and_its_margin():
    figures = GOOD | {"reject_share": 6 / 11, "archive_objects": 11}
    assert failed_checks(figures, GateConfig()) == (
        "reject_share is 0.5455 (6 of 11; with 95% confidence 0.2712 or more), must be at most 0.1",
    )


def test_what_could_not_be_checked_is_told_with_the_reason():
    assert skipped_checks(GOOD, GateConfig()) == ()
    first = {"chips": 90, "objects": 11, "archive_objects": 11, "reject_share": 0}
    first |= {"stuck_bits": 0, "bit_entropy": 0.9, "distinct_ratio": 0.5}
    assert skipped_checks(first, GateConfig()) == (
        "new_reject_share: nothing is new since an earlier version of this model",
        "chips_per_object_change, bit_drift, new_bit_drift: no version of this model was published before",
        "stuck_bits, bit_entropy, distinct_ratio: 11 objects, 50 needed",
    )
    by_hand = {name: value for name, value in GOOD.items() if "reject" not in name and name[:7] != "archive"}
    assert skipped_checks(by_hand, GateConfig()) == (
        "reject_share, new_reject_share: only a night counts rejects",
    )
    few_new = skipped_checks(GOOD | {"new_objects": 3, "new_chips": 12}, GateConfig())
    assert few_new == ("new_bit_drift: 3 new objects, 50 needed",)
    assert skipped_checks(GOOD | {"canaries": 5}, GateConfig()) == (
        "canary_precision: 5 canaries, 11 needed",
    )


@given(st.sets(st.sampled_from(sorted(GOOD))))
def test_each_check_is_made_or_told_as_skipped(missing):
    """Of a code of one part with canaries; whatever figures are there."""
    figures = {name: value for name, value in GOOD.items() if name not in missing} | {"stuck_bits": 0.5}
    told = ", ".join(skipped_checks(figures, GateConfig()))
    for check in checks(GateConfig()):
        if check.figure in BAD and check.figure in figures and check.concerns in (None, *figures):
            bad = figures | {check.figure: BAD[check.figure]}
            failed = [line.split(" is ")[0] for line in failed_checks(bad, GateConfig())]
            if check.figure != "canaries":
                assert (check.figure in failed) != (check.figure in told.replace(":", ",").split(", "))


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
