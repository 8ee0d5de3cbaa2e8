"""Weights of bits from a picture's real outputs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.bit_weights import MAX_BIT_WEIGHT, bit_weights
from model.spec import CodePart, CodeSpec

CODE = CodeSpec((CodePart("kind", 8, 3), CodePart("look", 16)))


def reference(outputs_BK):
    weights = []
    for row in outputs_BK.tolist():
        for start, end in ((0, 8), (8, 24)):
            mean = sum(abs(value) for value in row[start:end]) / (end - start)
            weights += [min(15, round(8 * abs(value) / mean)) if mean else 0 for value in row[start:end]]
    return np.asarray(weights).reshape(outputs_BK.shape)


@given(arrays(np.float32, (3, 24), elements=st.integers(-100, 100).map(lambda number: number / 8)))
def test_weights_are_those_of_the_definition(outputs_BK):
    weights_BK = bit_weights(outputs_BK, CODE)
    assert weights_BK.dtype == np.uint8
    np.testing.assert_array_equal(weights_BK, reference(outputs_BK))
    assert weights_BK.max() <= MAX_BIT_WEIGHT
    # each part has its own scale: stretching one changes nothing
    stretched_BK = outputs_BK * np.repeat(np.float32([2, 0.25]), (8, 16))
    np.testing.assert_array_equal(bit_weights(stretched_BK, CODE), weights_BK)


def test_outputs_of_one_size_weigh_alike():
    outputs_BK = np.where(np.random.default_rng(0).random((2, 24)) < 0.5, -0.3, 0.3)
    assert (bit_weights(outputs_BK, CODE) == 8).all()
