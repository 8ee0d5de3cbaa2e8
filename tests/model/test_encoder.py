"""Batches from memory give the codes that the network gives, from any number of threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from model.encoder import BatchEncoder
from model.network import HashNetwork
from model.spec import InputSpec, NetworkSpec


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    spec = NetworkSpec(backbone="resnet18", node="layer1", hidden=0, kind_bits=32)
    return HashNetwork(spec, InputSpec(size=16)).eval()


def test_batches_of_all_sizes_from_two_threads(network):
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 256, (count, 20, 20, 3), np.uint8) for count in (5, 1, 9, 0, 2, 9)]
    for batch_NHWC in batches:
        batch_NHWC.flags.writeable = False  # as what comes out of Ray's object store
    encoder = BatchEncoder(network, torch.device("cpu"))
    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(encoder.encode, batches))
    for batch_NHWC, codes_NY in zip(batches, codes, strict=True):
        np.testing.assert_array_equal(codes_NY, network.encode(torch.tensor(batch_NHWC)))
    assert [codes_NY.shape for codes_NY in codes] == [(len(batch), 4) for batch in batches]


def test_chips_of_one_size_are_encoded_as_mixed_ones_are(network):
    """Nights encode a tensor of chips, training extracts a list of them: the features must be the same."""
    chips_NHWC = np.random.default_rng(1).integers(0, 256, (6, 40, 40, 3), np.uint8)
    codes_NY = network.encode(torch.from_numpy(chips_NHWC))
    np.testing.assert_array_equal(codes_NY, network.encode_features(network.extract(list(chips_NHWC))))
