"""Features of labelled chips: computed by actors, kept, and computed again where a scene changes."""

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from model.network import HashNetwork
from model.preprocess import turned
from model.spec import InputSpec, NetworkSpec
from pipelines.config import FeatureConfig
from pipelines.imagery.pixels import PixelSpec
from pipelines.labels.chip_pixels import chip_arrays, read_chips
from pipelines.labels.dataset import read_labels
from pipelines.labels.features import cache_name, compute_features, compute_views
from pipelines.train.inputs import FeatureRows

pytestmark = pytest.mark.usefixtures("ray_local")


def make_network(node="layer1", size=16):
    torch.manual_seed(0)
    spec = NetworkSpec(backbone="resnet18", node=node, kind_bits=16)
    return HashNetwork(spec, InputSpec(size=size)).eval()


@pytest.fixture
def scenes(store, root, write_scenes):
    return write_scenes(store, root, count=6)


def test_features_are_computed_once_and_only_of_what_is_new(scenes, store, root):
    network, cache = make_network(), f"{root}/features"
    lenient = FeatureConfig(actors=2, batch_size=7, max_unreadable_share=0.5)
    labels = read_labels(scenes.manifest, store)
    uris = labels.chips["uri"].to_pylist()
    store.write(uris[95], store.read(uris[95])[:200])  # torn
    labels = read_labels(scenes.manifest, store)
    first = compute_features(labels.chips, network, store, lenient, cache)
    assert first.rows_N.tolist() == list(range(80))
    assert first.computed == 80
    assert {chip.uri for chip in first.unreadable} == {uris[95]}
    np.testing.assert_allclose(first.features_ND, expected(labels, network, store), rtol=0.02, atol=0.02)

    # a scene with another content has another etag: its chips are computed again, and no others
    store.write(uris[95], store.read(uris[0]))
    mended = compute_features(read_labels(scenes.manifest, store).chips, network, store, lenient, cache)
    assert (mended.computed, mended.unreadable) == (16, ())
    np.testing.assert_array_equal(mended.features_ND[:80], first.features_ND)
    np.testing.assert_allclose(mended.features_ND[80:], first.features_ND[:16], rtol=0.02, atol=0.02)

    again = compute_features(read_labels(scenes.manifest, store).chips, network, store, lenient, cache)
    assert again.computed == 0
    np.testing.assert_array_equal(again.features_ND, mended.features_ND)
    assert len(list(store.list(cache))) == 2  # a file for each time that something was computed

    few = labels.chips.slice(0, 4)
    every = read_labels(scenes.manifest, store).chips
    both = compute_views({0: every, 6: few}, network, store, lenient, cache)
    assert [(view, each.computed) for view, each in both.items()] == [(0, 0), (6, 4)]
    np.testing.assert_array_equal(both[0].features_ND, mended.features_ND)
    mirrored = both[6]
    want = network.extract([turned(chip, 6) for chip in decoded(few, store)])
    np.testing.assert_allclose(mirrored.features_ND, want, rtol=0.02, atol=0.02)
    assert not np.allclose(mirrored.features_ND, again.features_ND[:4], rtol=0.02, atol=0.02)


def test_each_view_of_a_chip_is_drawn():
    rows = FeatureRows(np.arange(6, dtype=np.float32).reshape(2, 3, 1))
    generator = torch.Generator().manual_seed(0)
    drawn = rows.inputs(np.array([0, 1] * 60), generator, 1).reshape(-1, 2)
    assert [set(column.tolist()) for column in drawn.T] == [{0, 1, 2}, {3, 4, 5}]
    pairs = rows.inputs(np.array([0, 1] * 60), generator, 2).reshape(-1, 2, 2)  # of chips 0 and 1 in turn
    assert {tuple(pair.tolist()) for pair in pairs[:, 0]} == {(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)}
    assert (pairs[:, 1] >= 3).all()
    assert (pairs[:, 1, 0] != pairs[:, 1, 1]).all()


def expected(labels, network, store):
    return network.extract(decoded(labels.chips, store))  # in bfloat16 where there is, and batches differ


def decoded(table, store):
    chips = {}
    for block in read_chips(table, PixelSpec((1, 2, 3)), store).iter_batches(batch_format="pyarrow"):
        readable = block.filter(pc.is_null(block["reason"]))
        chips |= dict(zip(readable["row"].to_pylist(), chip_arrays(readable), strict=True))
    return [chips[row] for row in sorted(chips)]


def test_the_cache_knows_backbone_and_input():
    names = {cache_name(make_network(*case)) for case in (("layer1",), ("layer2",), ("layer1", 24))}
    assert len(names) == 3
    head = make_network()
    torch.nn.init.zeros_(next(head.head.parameters()))
    assert cache_name(head) in names  # another head, the same features
