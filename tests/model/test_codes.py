import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model.codes import (
    binarise,
    compared_distances,
    greatest_distance,
    hamming_distances,
    pack,
    part_distances,
    unpack,
    weighted_distances,
    weighted_words,
)
from model.spec import CodePart, CodeSpec

KIND, LOOK = CodePart("kind", 16, 3), CodePart("look", 24)
TWO_PARTS = CodeSpec((KIND, LOOK))

bit_arrays = st.tuples(st.integers(0, 6), st.integers(1, 9)).flatmap(
    lambda shape: hnp.arrays(bool, (shape[0], shape[1] * 8))
)


@given(bit_arrays)
def test_unpack_undoes_pack(bits_NK):
    np.testing.assert_array_equal(unpack(pack(bits_NK)), bits_NK)


def test_bit_k_is_bit_k_mod_8_of_byte_k_div_8():
    bits_1K = np.zeros((1, 24), bool)
    bits_1K[0, [0, 9, 23]] = True
    assert pack(bits_1K).tolist() == [[1, 2, 128]]


def test_zero_is_off():
    assert binarise(np.array([[-0.1, 0.0, 0.1]])).tolist() == [[False, False, True]]


@given(bit_arrays)
def test_distance_counts_differing_bits(bits_NK):
    expected_NN = (bits_NK[:, None, :] != bits_NK[None, :, :]).sum(axis=2)
    codes_NY = pack(bits_NK)
    np.testing.assert_array_equal(hamming_distances(codes_NY, codes_NY), expected_NN)


def test_pack_refuses_half_bytes():
    with pytest.raises(ValueError, match="multiple of 8"):
        pack(np.zeros((2, 12), bool))


def random_bits(seed, count=9):
    return np.random.default_rng(seed).random((count, 40)) < 0.3


@given(st.integers(0, 99), st.one_of(st.none(), st.integers(0, 8)))
def test_distances_of_parts_by_counting_bits(seed, kind_weight):
    bits_NK = random_bits(seed)
    codes_NY = pack(bits_NK)
    differs_NNK = bits_NK[:, None, :] != bits_NK[None, :, :]
    kind_NN, look_NN = differs_NNK[..., :16].sum(axis=2), differs_NNK[..., 16:].sum(axis=2)
    parts = part_distances(codes_NY, codes_NY, TWO_PARTS)
    assert list(parts) == ["kind", "look"]
    np.testing.assert_array_equal(parts["kind"], kind_NN)
    np.testing.assert_array_equal(parts["look"], look_NN)
    both_NN = (3 if kind_weight is None else kind_weight) * kind_NN + look_NN
    np.testing.assert_array_equal(weighted_distances(codes_NY, codes_NY, TWO_PARTS, kind_weight), both_NN)
    expected = {"both": (both_NN, 0 * both_NN), "kind": (kind_NN, look_NN), "look": (look_NN, kind_NN)}
    for compare, (distances_NN, ties_NN) in expected.items():
        measured = compared_distances(codes_NY, codes_NY, TWO_PARTS, compare, kind_weight)
        np.testing.assert_array_equal(measured[0], distances_NN)
        np.testing.assert_array_equal(measured[1], ties_NN)


@pytest.mark.parametrize("name", ["kind", "look"])
@pytest.mark.parametrize("compare", ["both", "own"])
def test_a_single_part_is_the_whole_code(name, compare):
    codes_NY, code = pack(random_bits(0)), CodeSpec((CodePart(name, 40),))
    for kind_weight in (None, 0, 8):
        distances_NN, ties_NN = compared_distances(
            codes_NY, codes_NY, code, name if compare == "own" else "both", kind_weight
        )
        np.testing.assert_array_equal(distances_NN, hamming_distances(codes_NY, codes_NY))
        assert not ties_NN.any()


@pytest.mark.parametrize("compare", ["both", "kind", "look"])
def test_words_have_the_weights_of_their_parts(compare):
    codes_NY = pack(random_bits(1))
    words_NW, weights_W = weighted_words(codes_NY, TWO_PARTS, compare)
    total_NN = sum(
        int(weight) * np.bitwise_count(words_N[:, None] ^ words_N).astype(int)
        for words_N, weight in zip(words_NW.T, weights_W, strict=True)
    )
    np.testing.assert_array_equal(total_NN, compared_distances(codes_NY, codes_NY, TWO_PARTS, compare)[0])
    opposite = weighted_words(~codes_NY, TWO_PARTS, compare)[0]
    farthest_N = (np.bitwise_count(words_NW ^ opposite) * weights_W).sum(axis=1)
    assert set(farthest_N.tolist()) == {greatest_distance(codes_NY, TWO_PARTS, compare)}


def test_a_part_that_is_not_there():
    codes_NY, code = pack(random_bits(0)), CodeSpec((CodePart("look", 40),))
    for of_part in (compared_distances, lambda x, _, *parts: weighted_words(x, *parts)):
        with pytest.raises(ValueError, match="these codes have no kind bits to compare, only look bits"):
            of_part(codes_NY, codes_NY, code, "kind")
    with pytest.raises(ValueError, match="the codes have 40 bits, their spec 16"):
        weighted_words(codes_NY, CodeSpec((CodePart("kind", 16),)))
    with pytest.raises(ValueError, match=r"kind_weight must be 0\.\.8, not 9"):
        weighted_distances(codes_NY, codes_NY, TWO_PARTS, 9)
