from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.sampling import draw_batches


@st.composite
def labelled(draw):
    counts = draw(st.lists(st.integers(1, 30), min_size=1, max_size=8))
    classes_N = np.repeat(np.arange(len(counts)), counts)
    batch_size = draw(st.integers(1, len(classes_N)))
    return np.eye(len(counts), dtype=bool)[classes_N], batch_size, draw(st.integers(1, 6))


@given(labelled(), st.integers(0, 5))
def test_batches_are_whole_and_classes_come_up_equally_often(case, seed):
    labels_NC, batch_size, chips_per_class = case
    batches = list(draw_batches(labels_NC, batch_size, chips_per_class, seed))
    assert len(batches) == len(labels_NC) // batch_size
    assert all(rows_B.shape == (batch_size,) for rows_B in batches)
    classes = labels_NC.shape[1]
    in_a_batch = min(max(1, batch_size // chips_per_class), classes)
    seen: Counter[int] = Counter()
    for rows_B in batches:
        counts = Counter(labels_NC[rows_B].argmax(axis=1).tolist())
        assert len(counts) == min(in_a_batch, batch_size)
        assert max(counts.values()) - min(counts.values()) <= 1
        seen.update(dict.fromkeys(counts, 1))
    assert max(seen.values()) - min(seen[c] for c in range(classes)) <= 1
    again = list(draw_batches(labels_NC, batch_size, chips_per_class, seed))
    np.testing.assert_array_equal(batches, again)


@given(labelled())
def test_the_chips_of_a_class_take_turns(case):
    labels_NC, batch_size, chips_per_class = case
    rows = np.concatenate(list(draw_batches(labels_NC, batch_size, chips_per_class, seed=0)))
    times_N = np.bincount(rows, minlength=len(labels_NC))
    for labels_N in labels_NC.T:
        assert np.ptp(times_N[labels_N]) <= 1


def test_chips_with_several_labels_come_up_for_each():
    labels_NC = np.array([[1, 1, 0]] + [[1, 0, 0]] * 20 + [[0, 0, 1]] * 20, bool)
    batches = list(draw_batches(labels_NC, 12, 4, seed=0))
    assert all((rows_B == 0).sum() >= 4 for rows_B in batches)  # the second class has no other


def test_too_few_chips_for_a_batch():
    with pytest.raises(ValueError, match="3 training chips don't fill a batch of 4"):
        next(draw_batches(np.eye(3, dtype=bool), 4, 1, seed=0))


@given(labelled(), st.integers(0, 3))
def test_or_chips_come_as_they_are(case, seed):
    labels_NC, batch_size, _ = case
    rows = np.concatenate(list(draw_batches(labels_NC, batch_size, 0, seed)))
    assert len(rows) == len(labels_NC) // batch_size * batch_size
    assert len(np.unique(rows)) == len(rows)
