"""Two workers of DDP give the losses of one: `torchrun --nproc-per-node 2 infra/gpu/two_workers.py`.

With two cards they talk over nccl; with one card, or on the CPU, over gloo. The last line says by how much
the losses differ, as a share.
"""

import json
import os

import numpy as np
import torch
import torch.distributed as dist
from fine_tuning import run_epochs
from numpy.typing import NDArray
from torch.nn.parallel import DistributedDataParallel

from model.loss_spec import PairwiseSpec
from model.network import HashNetwork
from model.preprocess import preprocess
from model.recipe import Recipe
from model.spec import InputSpec, NetworkSpec
from model.training import TrainingSet, WorkerSlice

_CHIPS, _CLASSES, _SIDE = 256, 8, 64


def main() -> None:
    """Train twice, alone and together, and compare."""
    rank, cards = int(os.environ["RANK"]), torch.cuda.device_count()
    device = torch.device(f"cuda:{rank % cards}" if cards else "cpu")
    if cards:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cards > 1 else "gloo")
    together = losses(device, WorkerSlice(rank, 2))
    dist.destroy_process_group()
    alone = losses(device, WorkerSlice())
    differ = max(abs(one - two) / abs(one) for one, two in zip(alone, together, strict=True))
    if rank == 0:
        print(json.dumps({"backend": "nccl" if cards > 1 else "gloo", "losses_differ": differ}))


def losses(device: torch.device, worker: WorkerSlice) -> list[float]:
    """Return the losses of a short training from one start."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    spec = NetworkSpec(backbone="resnet18", node="layer2", head="linear", kind_bits=32)
    network = HashNetwork(spec, InputSpec(size=_SIDE)).to(device)
    classes_N = np.arange(_CHIPS) % _CLASSES
    chips_NSSC = rng.integers(0, 256, (_CHIPS, _SIDE, _SIDE, 3), np.uint8)
    recipe = Recipe(epochs=1, batch_size=64, backbone_learning_rate=1e-4, bfloat16=False)

    def parallel(module: torch.nn.Module) -> torch.nn.Module:
        return DistributedDataParallel(module) if worker.workers > 1 else module

    def images(rows_B: NDArray[np.int64], generator: torch.Generator, views: int) -> torch.Tensor:  # noqa: ARG001
        # without random changes: each worker would draw its own
        return preprocess(torch.from_numpy(chips_NSSC[rows_B]).to(device), network.input_spec)

    labels_NC = np.eye(_CLASSES, dtype=bool)[classes_N]
    return run_epochs(network, recipe, PairwiseSpec(), TrainingSet(labels_NC, images), parallel, worker)


if __name__ == "__main__":
    main()
