"""Backbones of all three kinds, and weights that fit or don't."""

import io
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torchvision import models

from model.backbones import Backbone, own_input, read_weights

SHARED = Path(__file__).parents[3] / "shared"
measured = pytest.mark.skipif(not (SHARED / "data/weights").exists(), reason="../shared/data isn't here")

OWN = """
from torch import Tensor, nn

class Little(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 5, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images)

def little() -> Little:
    return Little()

def number() -> int:
    return 1

def anything():
    return Little()
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_backbones.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_backbones"
    sys.modules.pop("own_backbones", None)


@pytest.mark.parametrize(
    ("name", "node", "features"),
    [
        ("resnet18", "layer2", 128),
        ("googlenet", "inception4a", 512),
        ("inception_v3", "Mixed_5b", 256),
        ("efficientnet_b0", "features", 1280),
        ("convnext_tiny", "features", 768),
        ("vit_b_32", "encoder", 768),  # tokens
        ("swin_t", "norm", 768),  # bands last
        ("swin_t", "permute", 768),
    ],
)
def test_torchvisions_networks_cut_at_a_node(name, node, features):
    backbone = Backbone(name, node).eval()
    size = 224 if name.startswith(("vit", "swin")) else 64
    assert backbone.count_features(3, size) == features


def test_tokens_are_averaged_and_bands_last_is_known():
    torch.manual_seed(0)
    images_BCSS = torch.randn(1, 3, 224, 224)
    last, first = (Backbone("swin_t", node).eval() for node in ("norm", "permute"))
    first.body.load_state_dict(last.body.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(last(images_BCSS), first(images_BCSS))


def test_of_several_nodes_each_counts_by_its_number_of_features():
    torch.manual_seed(0)
    images_BCSS = torch.randn(2, 3, 64, 64)
    both = Backbone("resnet18", "layer2+layer1").eval()
    alone = [Backbone("resnet18", node).eval() for node in ("layer2", "layer1")]
    for backbone in alone:
        backbone.body.load_state_dict(both.body.state_dict(), strict=False)
    with torch.inference_mode():
        features_BD = both(images_BCSS)
        expected = [backbone(images_BCSS) for backbone in alone]
    assert both.count_features(3, 64) == 128 + 64
    for found_BD, own_BD in zip(features_BD.split([128, 64], dim=1), expected, strict=True):
        torch.testing.assert_close(found_BD.square().mean(dim=1), torch.ones(2))
        torch.testing.assert_close(found_BD * own_BD.square().mean(dim=1, keepdim=True).sqrt(), own_BD)


def test_what_lies_behind_the_node_is_pruned():
    names = Backbone("resnet18", "layer2").body.state_dict()
    assert not any(name.startswith(("layer3", "fc")) for name in names)


@pytest.mark.parametrize(
    ("name", "node", "message"),
    [
        ("resnet1", "layer1", "unknown backbone"),
        ("resnet18", "layer9", "no node 'layer9'"),
        ("resnet18", "layer1+layer9", "no node 'layer9': give network.node"),
        ("resnet18", "Mixed_6c+Mixed_7a", "no node 'Mixed_6c' and no node 'Mixed_7a': give network.node"),
        ("resnet18", "", "no node ''"),
        ("no_such_module:network", "", "No module named"),
        ("own_backbones:missing", "", "no attribute 'missing'"),
        ("own_backbones:number", "", "annotated to return"),
        ("own_backbones:anything", "", "annotated to return"),
        ("own_backbones:Tensor", "", "must be a class"),  # imported there, not its own
        ("os:getcwd", "", "must be a class"),
        ("timm:no_such_model", "", "no_such_model"),
    ],
)
def test_unknown_backbones_and_nodes(own, name, node, message):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    with pytest.raises(ValueError, match=message):
        Backbone(name, node)


def test_a_backbone_of_the_users_own(own):
    assert Backbone(f"{own}:little", "").count_features(3, 16) == 5
    assert Backbone(f"{own}:Little", "layer").count_features(3, 16) == 5
    assert own_input(f"{own}:little").size == 224
    with pytest.raises(ValueError, match="brings no weights of its own"):
        Backbone(f"{own}:little", "", "imagenet")


def test_timms_networks_bring_their_own_input():
    pytest.importorskip("timm", reason="timm isn't installed")
    backbone = Backbone("timm:tf_efficientnet_lite0", "")
    assert backbone.count_features(3, 64) == 1280
    spec = own_input("timm:tf_efficientnet_lite0")
    assert (spec.size, spec.mean, spec.resize) == (224, (0.5, 0.5, 0.5), "bicubic")


@pytest.mark.parametrize(
    ("name", "size", "mean", "resize"),
    [
        ("resnet18", 224, 0.485, "bilinear"),
        ("inception_v3", 299, 128 / 255, "bicubic"),
        ("googlenet", 224, 128 / 255, "bilinear"),
        ("swin_t", 224, 0.485, "bicubic"),
    ],
)
def test_each_backbone_brings_its_own_input(name, size, mean, resize):
    spec = own_input(name)
    assert (spec.size, spec.mean[0], spec.resize) == (size, mean, resize)


def test_a_band_too_many_is_told():
    with pytest.raises(ValueError, match="can't take 4 x 64 x 64"):
        Backbone("resnet18", "layer1").count_features(4, 64)


@pytest.fixture
def state():
    torch.manual_seed(0)
    return {
        key: value.contiguous() for key, value in Backbone("resnet18", "layer1").body.state_dict().items()
    }


def pth(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_weights_are_read_from_both_kinds_of_file(state):
    for content, name in ((safetensors.torch.save(state), "w.safetensors"), (pth(state), "w.pth")):
        loaded = Backbone("resnet18", "layer1", read_weights(content, name))
        for key, value in loaded.body.state_dict().items():
            torch.testing.assert_close(value, state[key])


def test_half_precision_becomes_single(state):
    halves = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    loaded = Backbone("resnet18", "layer1", read_weights(safetensors.torch.save(halves), "w.safetensors"))
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())


class Hostile:
    def __reduce__(self):
        return print, ("code of a stranger",)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"torn", "w.safetensors", "isn't a file of weights"),
        (b"torn", "w.pth", "isn't a file of weights"),
        (pth({"layer": Hostile()}), "w.pth", "isn't a file of weights"),
        (pth([1, 2]), "w.pth", "holds no state"),
        (pth({"epoch": 3}), "w.pth", "holds no state"),
    ],
)
def test_bad_weights_are_refused_and_run_nothing(content, name, message, capsys):
    with pytest.raises(ValueError, match=message):
        read_weights(content, name)
    assert "stranger" not in capsys.readouterr().out


def test_weights_must_cover_the_cut_network(state):
    whole = models.resnet18().state_dict()
    Backbone("resnet18", "layer1", whole)  # more than is needed
    del state["layer1.1.conv2.weight"]
    with pytest.raises(ValueError, match=r"lack 1 parameters of resnet18: layer1\.1\.conv2\.weight"):
        Backbone("resnet18", "layer1", state)
    with pytest.raises(ValueError, match=r"lack .* layer2"):
        Backbone("resnet18", "layer2", state | {"layer1.1.conv2.weight": torch.zeros(64, 64, 3, 3)})
    with pytest.raises(ValueError, match="other shapes"):
        Backbone("resnet18", "layer1", whole | {"conv1.weight": torch.zeros(64, 4, 7, 7)})


def test_the_fingerprint_follows_architecture_and_weights(state):
    one, again = (Backbone("resnet18", "layer1", state).fingerprint() for _ in range(2))
    assert one == again
    assert Backbone("resnet18", "relu", state).fingerprint() != one
    state["conv1.weight"] = state["conv1.weight"] + 1e-3
    assert Backbone("resnet18", "layer1", state).fingerprint() != one


@measured
@pytest.mark.parametrize(
    ("name", "node", "file"),
    [
        ("inception_v3", "Mixed_7a", "inception_v3_to_mixed_7a.fp16.safetensors"),
        ("squeezenet1_1", "features", "squeezenet1_1.fp16.safetensors"),
        ("bvlc_googlenet:features", "", "bvlc_googlenet.fp16.safetensors"),
    ],
)
def test_real_weights_cover_their_networks(name, node, file, monkeypatch):
    monkeypatch.syspath_prepend(SHARED / "backbones")
    weights = read_weights((SHARED / "data/weights" / file).read_bytes(), file)
    assert Backbone(name, node, weights).eval().count_features(3, 150) > 0
    if node == "Mixed_7a":
        with pytest.raises(ValueError, match="Mixed_7b"):
            Backbone(name, "Mixed_7b", weights)
