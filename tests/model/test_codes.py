import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model.codes import binarise, hamming_distances, pack, unpack

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
