import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.bundle import MANIFEST, WEIGHTS, Manifest, pack_bundle, unpack_bundle
from model.codes import unpack
from model.network import HashNetwork
from model.preprocess import augment, preprocess, preprocess_mixed, turned
from model.recipe import VIEWS, AugmentSpec
from model.spec import CodePart, CodeSpec, InputSpec, NetworkSpec

SPEC = NetworkSpec(backbone="resnet18", node="layer1", hidden=8, kind_bits=24)
INPUT = InputSpec(size=16)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return HashNetwork(SPEC, INPUT).eval()


@pytest.fixture
def chips_BHWC():
    return torch.randint(0, 256, (5, 20, 20, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


@pytest.fixture
def bundle(network):
    return pack_bundle(network, "demo", ("ice", "sand"), "run-1", {"precision": 0.5})


def test_preprocess_scales_and_resizes():
    chips_BHWC = torch.full((2, 8, 8, 3), 255, dtype=torch.uint8)
    images_BCHW = preprocess(chips_BHWC, InputSpec(size=32))
    assert images_BCHW.shape == (2, 3, 32, 32)
    expected_C = (1 - torch.tensor(INPUT.mean)) / torch.tensor(INPUT.std)
    torch.testing.assert_close(images_BCHW[0, :, 7, 9], expected_C)


@pytest.mark.parametrize("count", [1, 8, 19])
@pytest.mark.parametrize("side", [20, 32, 50])
@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
def test_preprocess_is_its_definition_bit_for_bit(count, side, resize):
    rng = np.random.default_rng(0)
    chips_BHWC = torch.from_numpy(rng.integers(0, 256, (count, side, side, 3), np.uint8))
    spec = InputSpec(size=32, resize=resize, mean=(0.1, 0.4, 0.5), std=(0.2, 0.3, 0.25))
    images_BCHW = chips_BHWC.permute(0, 3, 1, 2).float()
    if side != spec.size:
        options = {"mode": resize, "antialias": True, "align_corners": False}
        images_BCHW = torch.nn.functional.interpolate(images_BCHW, size=(32, 32), **options)
    mean_C11, std_C11 = (torch.tensor(values)[:, None, None] * 255 for values in (spec.mean, spec.std))
    found_BCSS = preprocess(chips_BHWC, spec)
    assert found_BCSS.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found_BCSS, (images_BCHW - mean_C11) / std_C11, rtol=0, atol=0)


def test_preprocess_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="uint8"):
        preprocess(torch.zeros(1, 8, 8, 3), INPUT)
    with pytest.raises(ValueError, match="4 bands"):
        preprocess(torch.zeros(1, 8, 8, 4, dtype=torch.uint8), INPUT)


def test_chips_of_many_sizes_become_one_batch():
    rng = np.random.default_rng(0)
    chips = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (20, 16, 20, 33)]
    images_BCSS = preprocess_mixed(chips, INPUT, torch.device("cpu"))
    for image_CSS, chip_HWC in zip(images_BCSS, chips, strict=True):
        torch.testing.assert_close(image_CSS[None], preprocess(torch.from_numpy(chip_HWC)[None], INPUT))


def test_views_are_the_eight_symmetries_of_a_square():
    chip_HWC = np.arange(4 * 4 * 2, dtype=np.uint8).reshape(4, 4, 2)
    views = {turned(chip_HWC, view).tobytes() for view in range(VIEWS)}
    turns = [np.rot90(side, number) for side in (chip_HWC, chip_HWC[::-1]) for number in range(4)]
    assert views == {turn.tobytes() for turn in turns}
    assert turned(chip_HWC, 0).tobytes() == chip_HWC.tobytes()


def test_augment_draws_all_eight_symmetries_and_nothing_else():
    image_CHW, generator = torch.arange(9.0).reshape(1, 3, 3), torch.Generator().manual_seed(0)
    turned = [
        torch.rot90(side, turns, (1, 2)) for side in (image_CHW, image_CHW.flip(-1)) for turns in range(4)
    ]
    images_BCHW = augment(image_CHW.repeat(400, 1, 1, 1), AugmentSpec(scale=0, colour=0), generator)
    seen = {next(i for i, side in enumerate(turned) if torch.equal(side, image)) for image in images_BCHW}
    assert seen == set(range(8))


def test_zoom_shows_a_part_and_colour_changes_bands_evenly():
    generator = torch.Generator().manual_seed(0)
    ramp_W = torch.linspace(0, 1, 32)
    images_BCHW = ramp_W.expand(64, 3, 32, 32)
    zoomed_BCHW = augment(images_BCHW, AugmentSpec(symmetries=False, scale=0.5, colour=0), generator)
    spans_B = zoomed_BCHW.amax((1, 2, 3)) - zoomed_BCHW.amin((1, 2, 3))
    assert 0.45 < spans_B.min() < spans_B.max() <= 1
    assert zoomed_BCHW.amin() >= 0
    changed_BCHW = augment(images_BCHW, AugmentSpec(symmetries=False, scale=0, colour=0.3), generator)
    gain_BC = changed_BCHW[..., 0, -1] - changed_BCHW[..., 0, 0]
    offset_BC = changed_BCHW[..., 0, 0]
    assert 0.7 <= gain_BC.min() < 0.75
    assert 1.25 < gain_BC.max() <= 1.3
    assert offset_BC.abs().max() <= 0.3
    expected_BCHW = images_BCHW * gain_BC[:, :, None, None] + offset_BC[:, :, None, None]
    torch.testing.assert_close(changed_BCHW, expected_BCHW)


def test_code_does_not_depend_on_the_batch(network, chips_BHWC):
    codes_BY = network.encode(chips_BHWC)
    assert codes_BY.shape == (5, 3)
    one_by_one = np.concatenate([network.encode(chip[None]) for chip in chips_BHWC])
    np.testing.assert_array_equal(codes_BY, one_by_one)
    assert network.encode(chips_BHWC[:0]).shape == (0, 3)


def test_the_code_is_the_one_of_the_plain_forward_pass(network, chips_BHWC):
    with torch.inference_mode():
        outputs_BK = network(preprocess(chips_BHWC, INPUT)).numpy()
    difference_BK = unpack(network.encode(chips_BHWC)) ^ (outputs_BK > 0)
    assert not difference_BK[np.abs(outputs_BK) > 0.02 * outputs_BK.std()].any()
    assert difference_BK.sum() <= 2  # of 120 bits: the backbone may be in bfloat16


def test_code_does_not_depend_on_the_number_of_threads(network, chips_BHWC):
    threads = torch.get_num_threads()
    features = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            features.append(network.extract(list(chips_BHWC.numpy())))
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(features[0], features[1])
    np.testing.assert_array_equal(features[0], features[2])


def test_encode_wants_eval_mode(network, chips_BHWC):
    with pytest.raises(RuntimeError, match="eval"):
        network.train().encode(chips_BHWC)


@pytest.mark.parametrize("bits", [4, 12, 1032])
def test_bits_are_checked(bits):
    with pytest.raises(ValueError, match="multiple of 8"):
        NetworkSpec(kind_bits=bits)


def test_bundle_round_trip(network, bundle, chips_BHWC):
    manifest, files = bundle
    assert list(files)[-1] == MANIFEST
    read, reloaded = unpack_bundle(files)
    assert read == manifest
    assert read.model_id == manifest.model_id
    np.testing.assert_array_equal(reloaded.encode(chips_BHWC), network.encode(chips_BHWC))


def test_model_id_follows_the_content(network, bundle):
    manifest, _ = bundle
    name, digest = manifest.model_id.split("@")
    assert (name, len(digest)) == ("demo", 12)
    again, _ = pack_bundle(network, "demo", ("ice", "sand"), "run-1", {"precision": 0.5})
    assert again.model_id == manifest.model_id
    next(network.parameters()).data += 1
    changed, _ = pack_bundle(network, "demo", ("ice", "sand"), "run-1", {"precision": 0.5})
    assert changed.model_id != manifest.model_id


def rewrite(files, /, **changes):
    """Change a manifest as somebody would who means harm; of a section only what is named."""
    manifest = json.loads(files[MANIFEST])
    for key, value in changes.items():
        inside = isinstance(value, dict) and key != "files"
        manifest[key] = manifest[key] | value if inside else value
    files[MANIFEST] = json.dumps(manifest).encode()


def replace_weights(files, content):
    files[WEIGHTS] = content
    rewrite(files, files={WEIGHTS: hashlib.sha256(content).hexdigest()})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda files: files.pop(MANIFEST), "not a bundle"),
        (lambda files: files.pop(WEIGHTS), "is missing"),
        (lambda files: files.update({WEIGHTS: files[WEIGHTS][:-1] + b"x"}), "isn't the one"),
        (lambda files: files.update({MANIFEST: b"{}"}), "format_version"),
        (lambda files: files.update({MANIFEST: b"\xff"}), "not a bundle's manifest"),
        (lambda files: rewrite(files, files={}), "must name weights.safetensors and no other"),
        (
            lambda files: rewrite(files, files={"../../x": "0" * 64}),
            "must name weights.safetensors and no other",
        ),
        (lambda files: rewrite(files, name="../../elsewhere"), "a model's name is letters"),
        (lambda files: rewrite(files, network={"hidden": 10**12}), "must be 0..65536"),
        (lambda files: rewrite(files, network={"kind_bits": 10**9}), "multiple of 8"),
        (lambda files: rewrite(files, input={"size": 10**6}), "8..1024"),
        (lambda files: rewrite(files, network={"backbone": "os:system"}), "must be a class, or a function"),
        (
            lambda files: rewrite(files, network={"backbone": "timm:local-dir:/tmp"}),
            "only what timm itself defines",
        ),
        (
            lambda files: rewrite(files, network={"backbone": "timm:hf-hub:a/b"}),
            "only what timm itself defines",
        ),
        (lambda files: replace_weights(files, b"\x80\x04no tensors"), "weights don't fit"),
        (lambda files: replace_weights(files, (2**62).to_bytes(8, "little") + b"{}"), "weights don't fit"),
    ],
)
def test_damaged_bundle_is_refused(bundle, damage, message):
    files = dict(bundle[1])
    damage(files)
    with pytest.raises(ValueError, match=message):
        unpack_bundle(files)


def test_other_format_version_is_refused(bundle):
    content = json.loads(bundle[1][MANIFEST]) | {"format_version": 3}
    with pytest.raises(ValueError, match="format 3"):
        Manifest.from_bytes(json.dumps(content).encode())


def test_a_bundle_of_version_1_is_read_as_one_part_and_keeps_its_model_id(network, bundle, chips_BHWC):
    files = dict(bundle[1])
    content = json.loads(files[MANIFEST]) | {"format_version": 1}
    content["network"]["num_bits"] = content["network"].pop("kind_bits")
    del content["network"]["look_bits"], content["network"]["kind_weight"]
    files[MANIFEST] = (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
    manifest, read = unpack_bundle(files)
    assert manifest.network.code == CodeSpec((CodePart("kind", 24),))
    assert manifest.model_id == f"demo@{hashlib.sha256(files[MANIFEST]).hexdigest()[:12]}"
    np.testing.assert_array_equal(read.encode(chips_BHWC), network.encode(chips_BHWC))


@pytest.mark.parametrize("version", [1, 2])
def test_manifests_that_name_the_removed_gate(bundle, version):
    content = json.loads(bundle[1][MANIFEST]) | {"format_version": version}
    network = content["network"]
    if version == 1:
        network["num_bits"] = network.pop("kind_bits")
        del network["look_bits"], network["kind_weight"]
    assert network["attention_gate"] == "open", "still written: the model id is a hash of the manifest"
    kept = (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
    assert Manifest.from_bytes(kept).to_bytes() == kept
    network["attention_gate"] = "literal"
    with pytest.raises(ValueError, match="attention_gate 'literal' isn't supported any more: train again"):
        Manifest.from_bytes(json.dumps(content).encode())


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        (SPEC, [("kind", 24, 1)]),
        (replace(SPEC, look_bits=32), [("kind", 24, 2), ("look", 32, 1)]),
        (replace(SPEC, head="none", kind_bits=0, look_bits=32), [("look", 32, 1)]),
    ],
)
def test_the_parts_of_a_code_are_those_of_the_spec(spec, parts):
    assert [(part.name, part.bits, part.weight) for part in spec.code.parts] == parts
    torch.manual_seed(0)
    network = HashNetwork(spec, INPUT).eval()
    features_ND = np.random.default_rng(0).random((5, 64), np.float32)
    outputs_NK = network.outputs(features_ND)
    heads = {"kind": network.head, "look": network.look}
    with torch.no_grad():
        expected = [heads[name](torch.from_numpy(features_ND)).numpy() for name, _, _ in parts]
    np.testing.assert_array_equal(outputs_NK, np.concatenate(expected, axis=1))
    np.testing.assert_array_equal(unpack(network.encode_features(features_ND)), outputs_NK > 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": "none"}, "must be 0 with head none"),
        ({"kind_bits": 0}, "must be 0 with head none"),
        ({"head": "none", "kind_bits": 0}, "the parts of a code"),
        ({"look_bits": 1008}, "at most 1024"),
        ({"kind_weight": 9}, "1..8"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SPEC, **change)


def test_more_look_bits_than_features_are_refused():
    with pytest.raises(ValueError, match="64 features give at most 64 look bits, not 72"):
        HashNetwork(replace(SPEC, look_bits=72), INPUT)


def test_a_picture_gets_its_code_with_the_outputs_behind_it(chips_BHWC):
    network = HashNetwork(replace(SPEC, look_bits=32), INPUT).eval()
    codes_BY, outputs_BK = network.encode_with_outputs(chips_BHWC)
    np.testing.assert_array_equal(unpack(codes_BY), outputs_BK > 0)
    np.testing.assert_array_equal(codes_BY, network.encode(chips_BHWC))
    assert [array.shape for array in network.encode_with_outputs(chips_BHWC[:0])] == [(0, 7), (0, 56)]
