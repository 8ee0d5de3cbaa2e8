"""The gradient of a global batch, spread over gloo processes, is that of one process."""

import copy
import socket

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from model.loss_spec import OrthoHashSpec, PairwiseSpec, TripletSpec
from model.losses import build_loss
from model.parallel import global_batch

SPECS = (OrthoHashSpec(), PairwiseSpec(), TripletSpec(margin=0.5))
BATCH = 12


def gradient(network, rows, spec, wrap=lambda module: module):
    inputs_BD = torch.randn(BATCH, 6, generator=torch.Generator().manual_seed(1))[rows]
    labels_BC = torch.eye(3).repeat(BATCH // 3, 1)[rows]
    wrapped = wrap(network)  # held: DDP averages the gradients only while it lives
    outputs_BK = global_batch(wrapped(inputs_BD))
    terms = build_loss(spec, 3, 16, seed=0)(outputs_BK, global_batch(labels_BC))
    sum(terms.values()).backward()
    return [parameter.grad for parameter in network.parameters()]


def make_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 16))


def worker(rank, workers, port, results):
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=workers)
    share = BATCH // workers
    rows = slice(rank * share, (rank + 1) * share)
    found = [gradient(make_network(), rows, spec, DistributedDataParallel) for spec in SPECS]
    if rank == 0:
        torch.save(found, results)
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("workers", [2, 3])
def test_gradient_of_many_workers_is_that_of_one(workers, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(worker, (workers, port, tmp_path / "gradients.pt"), nprocs=workers)
    for spec, spread in zip(SPECS, torch.load(tmp_path / "gradients.pt"), strict=True):
        alone = gradient(copy.deepcopy(make_network()), slice(None), spec)
        for one, many in zip(alone, spread, strict=True):
            torch.testing.assert_close(many, one, rtol=1e-5, atol=1e-6)
