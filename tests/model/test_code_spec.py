"""Codes in parts: what a spec accepts, and what it says of distances."""

import pytest

from model.spec import CodePart, CodeSpec

KIND, LOOK = CodePart("kind", 64, 3), CodePart("look", 192)


def test_two_parts_have_the_bits_and_the_greatest_distance_of_both() -> None:
    spec = CodeSpec((KIND, LOOK))
    assert (spec.bits, spec.greatest_distance) == (256, 384)


@pytest.mark.parametrize("name", ["kind", "look"])
def test_one_part_may_be_either(name: str) -> None:
    spec = CodeSpec((CodePart(name, 48),))
    assert (spec.bits, spec.greatest_distance) == (48, 48)


@pytest.mark.parametrize("parts", [(), (LOOK, KIND), (KIND, KIND), (KIND, LOOK, LOOK), (KIND,)])
def test_other_combinations_are_refused(parts: tuple[CodePart, ...]) -> None:
    with pytest.raises(ValueError, match="part"):
        CodeSpec(parts)


@pytest.mark.parametrize(("bits", "weight"), [(0, 1), (12, 1), (1032, 1), (64, 0), (64, 9)])
def test_parts_out_of_range_are_refused(bits: int, weight: int) -> None:
    with pytest.raises(ValueError, match=str(bits if weight == 1 else weight)):
        CodePart("kind", bits, weight)


def test_too_many_bits_in_all_are_refused() -> None:
    with pytest.raises(ValueError, match="1088"):
        CodeSpec((CodePart("kind", 64, 3), CodePart("look", 1024)))
