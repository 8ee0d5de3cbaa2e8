"""What is to be proved on a card, in parts; `infra/gpu/check.sh` runs it. Each part ends with its figures.

Shapes: N chips, B chips of a batch, S x S pixels, C bands.
"""

import argparse
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from aid import SIDE, Chips, read
from fine_tuning import ChipImages, feature_set, fine_tune, run_epochs
from torch import Tensor

from model.backbones import own_input, read_weights
from model.codes import binarise
from model.encoder import BatchEncoder
from model.loss_spec import OrthoHashSpec, PairwiseSpec
from model.network import HashNetwork
from model.precision import autocast, multiplies_bfloat16
from model.preprocess import preprocess
from model.recipe import Recipe
from model.spec import InputSpec, NetworkSpec
from model.training import TrainingSet

INCEPTION = "inception_v3_to_mixed_7a.fp16.safetensors"
GOOGLENET = "bvlc_googlenet.fp16.safetensors"
_BACKBONES = {
    "inception_v3": (NetworkSpec(), 299),
    "googlenet": (NetworkSpec(backbone="googlenet", node="inception5b"), 224),
    "resnet50": (NetworkSpec(backbone="resnet50", node="layer4"), 224),
}
Figures = dict[str, float | str]


@dataclass(frozen=True)
class Card:
    """What there is to measure on, and with."""

    device: torch.device
    data: Path

    @property
    def is_real(self) -> bool:
        """Whether figures count: on the CPU parts only show that they work."""
        return self.device.type == "cuda"

    def some(self, on_card: int, on_cpu: int) -> int:
        """Return a size for the device."""
        return on_card if self.is_real else on_cpu

    def wait(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.is_real:
            torch.cuda.synchronize(self.device)

    def chips(self) -> tuple[Chips, Chips]:
        """Return AID's training and test side."""
        return read(self.data, self.some(1000, 10))

    def pretrained(self, spec: NetworkSpec, size: int | None = None) -> HashNetwork:
        """Return a network on the card, its backbone with the weights of ImageNet."""
        torch.manual_seed(0)
        if spec.backbone == "inception_v3":
            weights, input_spec = INCEPTION, own_input("inception_v3")
        else:
            weights, input_spec = GOOGLENET, InputSpec(size=size or 224)
        path = self.data / "weights" / weights
        network = HashNetwork(spec, input_spec, read_weights(path.read_bytes(), path.name))
        return network.to(self.device).eval()


def forward_rates(card: Card) -> Figures:
    """Measure images a second by backbone, batch and precision; bars: none, the guide's sizing needs them."""
    figures: Figures = {}
    for name, (spec, size) in _BACKBONES.items():
        network = HashNetwork(spec, InputSpec(size=size)).to(card.device).eval()
        for batch in (64, 256, 1024) if card.is_real else (2,):
            images_BCSS = torch.rand(batch, 3, size, size, device=card.device)
            images_BCSS = images_BCSS.contiguous(memory_format=torch.channels_last)
            for precision in ("float32", "bfloat16"):
                run = forward_of(network, images_BCSS, bfloat16=precision == "bfloat16")
                figures[f"{name}/{batch}/{precision}"] = batch / seconds_of(card, run)
        if card.is_real:
            compiled = torch.compile(network.backbone)
            run = forward_of(network, images_BCSS, bfloat16=True, backbone=compiled)
            figures[f"{name}/{batch}/bfloat16, compiled"] = batch / seconds_of(card, run)
    return figures


@torch.inference_mode()
def _outputs(
    network: HashNetwork, images_BCSS: Tensor, backbone: Callable[[Tensor], Tensor], *, bfloat16: bool
) -> Tensor:
    with autocast(images_BCSS.device, enabled=bfloat16):
        features_BD = backbone(images_BCSS)
    return network.parts(features_BD.float())


def forward_of(
    network: HashNetwork,
    images_BCSS: Tensor,
    *,
    bfloat16: bool,
    backbone: Callable[[Tensor], Tensor] | None = None,
) -> Callable[[], Tensor]:
    """Return a function that runs one forward pass on images that are on the device already."""
    return lambda: _outputs(network, images_BCSS, backbone or network.backbone, bfloat16=bfloat16)


def seconds_of(card: Card, run: Callable[[], object]) -> float:
    """Return the seconds of one call, the mean of many in a row, after some to warm up."""
    rounds = card.some(20, 1)
    for _ in range(card.some(5, 1)):
        run()
    card.wait()
    started = time.perf_counter()
    for _ in range(rounds):
        run()
    card.wait()
    return (time.perf_counter() - started) / rounds


def bits_changed(card: Card) -> Figures:
    """Train the default head, and compare bfloat16's bits with float32's; bar: at most .5 % differ."""
    train, test = card.chips()
    network = card.pretrained(NetworkSpec())
    recipe = Recipe(epochs=card.some(30, 1), batch_size=card.some(256, 32))
    run_epochs(network, recipe, OrthoHashSpec(), feature_set(network, train))
    network.eval()
    changed = total = 0
    for chips_BSSC in torch.split(torch.from_numpy(test.chips_NSSC), 256):
        images_BCSS = preprocess(chips_BSSC.to(card.device), network.input_spec)
        images_BCSS = images_BCSS.contiguous(memory_format=torch.channels_last)
        slow, fast = (
            binarise(_outputs(network, images_BCSS, network.backbone, bfloat16=on).cpu().numpy())
            for on in (False, True)
        )
        changed, total = changed + int((slow != fast).sum()), total + slow.size
    return {"bits_changed": changed / total, "multiplies_bfloat16": float(multiplies_bfloat16(card.device))}


def encoder_fed(card: Card) -> Figures:
    """Feed the night's encoder from memory; bar: at least .8 of the bare forward pass."""
    network = HashNetwork(*_default()).eval()
    encoder, batch, batches = BatchEncoder(network, card.device), card.some(256, 4), card.some(60, 2)
    chips_BSSC = np.random.default_rng(0).integers(0, 256, (batch, SIDE, SIDE, 3), np.uint8)
    chips_BSSC.flags.writeable = False  # as those that come out of the object store
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(encoder.encode, [chips_BSSC] * card.some(10, 1)))
        started = time.perf_counter()
        list(pool.map(encoder.encode, [chips_BSSC] * batches))
        fed = batch * batches / (time.perf_counter() - started)
    images_BCSS = preprocess(torch.from_numpy(chips_BSSC.copy()).to(card.device), network.input_spec)
    images_BCSS = images_BCSS.contiguous(memory_format=torch.channels_last)
    bare = batch / seconds_of(card, forward_of(network, images_BCSS, bfloat16=True))
    return {"chips_a_second": fed, "bare": bare, "fed_vs_bare": fed / bare}


def _default() -> tuple[NetworkSpec, InputSpec]:
    return NetworkSpec(), own_input("inception_v3")


def training_rates(card: Card) -> Figures:
    """Measure images a second of fine-tuning, with its input pipeline and with images that lie ready."""
    chips, batch = card.some(4096, 16), card.some(256, 8)
    spec, size = _BACKBONES["resnet50"]
    rng = np.random.default_rng(0)
    chips_NSSC = rng.integers(0, 256, (chips, SIDE, SIDE, 3), np.uint8)
    labels_NC = np.eye(8, dtype=bool)[np.arange(chips) % 8]
    recipe = Recipe(epochs=1, batch_size=batch, backbone_learning_rate=1e-4)
    figures: Figures = {}
    for name in ("with_inputs", "ready"):
        network = HashNetwork(spec, InputSpec(size=size)).to(card.device)
        images = ChipImages(chips_NSSC, network.input_spec, card.device)
        ready_BCSS = images.inputs(np.arange(batch), torch.Generator().manual_seed(0), 1)
        inputs = images.inputs if name == "with_inputs" else lambda *_, ready=ready_BCSS: ready
        run_epochs(network, recipe, PairwiseSpec(), TrainingSet(labels_NC, inputs))
        card.wait()
        started = time.perf_counter()
        run_epochs(network, recipe, PairwiseSpec(), TrainingSet(labels_NC, inputs))
        card.wait()
        figures[name] = chips / (time.perf_counter() - started)
    return figures


def two_workers(card: Card) -> Figures:  # noqa: ARG001 - each worker finds its own
    """Train with two workers of DDP; bar: the losses of one process, but for rounding (1e-3)."""
    script = str(Path(__file__).with_name("two_workers.py"))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def seed_a(card: Card) -> Figures:
    """Fine-tune seed A as its preset says; bar: mAP@20 of .80."""
    spec = NetworkSpec(backbone="bvlc_googlenet:features", node="", head="linear", kind_bits=48)
    loss = PairwiseSpec(balance=True, margin=1.0, uniform_weight=20.0)
    recipe = Recipe(
        batch_size=50,
        chips_per_class=5,
        head_epochs=card.some(20, 1),
        epochs=card.some(8, 1),
        learning_rate=3e-3,
        backbone_learning_rate=1e-4,
    )
    return {"map20": fine_tune(card.pretrained(spec, 136), recipe, loss, *card.chips())}


def default_fine_tuned(card: Card) -> Figures:
    """Fine-tune the default's 64 kind bits; bar: mAP@20 of .95."""
    recipe = Recipe(
        batch_size=card.some(256, 32),
        head_epochs=card.some(20, 1),
        epochs=card.some(15, 1),
        backbone_learning_rate=1e-4,
    )
    network = card.pretrained(NetworkSpec())
    return {"map20": fine_tune(network, recipe, OrthoHashSpec(), *card.chips())}


PARTS: dict[str, Callable[[Card], Figures]] = {
    "forward_rates": forward_rates,
    "bits_changed": bits_changed,
    "encoder_fed": encoder_fed,
    "training_rates": training_rates,
    "two_workers": two_workers,
    "seed_a": seed_a,
    "default_fine_tuned": default_fine_tuned,
}


def main() -> int:
    """Run the parts; one that fails costs no other. Return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    arguments = parser.parse_args()
    card = Card(torch.device("cuda" if torch.cuda.is_available() else "cpu"), arguments.data)
    name = torch.cuda.get_device_name() if card.is_real else "no card: a rehearsal, the figures mean nothing"
    measured: dict[str, Figures | str] = {"device": name, "torch": torch.__version__}
    failed = False
    for part in arguments.parts or PARTS:
        started = time.perf_counter()
        try:
            measured[part] = PARTS[part](card)
        except Exception:  # noqa: BLE001 - the other parts are worth their minutes
            traceback.print_exc()
            measured[part], failed = "failed", True
        print(f"{part}: {measured[part]} ({time.perf_counter() - started:.0f} s)", flush=True)
    print(json.dumps({"gpu": measured}))
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
