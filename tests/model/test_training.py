"""Training alone and spread over gloo processes: one gradient, one loss curve; and going on after a stop."""

import math

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from model.loss_spec import OrthoHashSpec, PairwiseSpec, TripletSpec, views_a_chip
from model.losses import build_loss
from model.network import HashNetwork
from model.recipe import Recipe
from model.spec import InputSpec, NetworkSpec
from model.training import ALONE, TrainingModule, TrainingSet, WorkerSlice, rate_at, start, train_epoch

CASES = (
    (OrthoHashSpec(), "norm"),  # with the contrastive term, for which each chip comes in two views
    (OrthoHashSpec(contrast_weight=0), "norm"),
    (PairwiseSpec(), "linear"),
    (TripletSpec(margin=0.5), "attention"),
)
BATCH = 12
LABELS_NC = np.tile(np.eye(3, dtype=bool), (BATCH, 1))
RECIPE = Recipe(
    epochs=4,
    batch_size=BATCH,
    chips_per_class=4,
    learning_rate=1e-2,
    backbone_learning_rate=1e-3,
    bfloat16=False,  # it rounds differently in batches of other sizes
)


def make_network(head):
    torch.manual_seed(0)
    spec = NetworkSpec(backbone="resnet18", node="layer1", head=head, hidden=8, kind_bits=16)
    return HashNetwork(spec, InputSpec(size=16))


def images(rows_B, _=None, views=1):
    generator = torch.Generator().manual_seed(1)
    images_NCHW = torch.randn(len(LABELS_NC), 3, 16, 16, generator=generator)
    rows_B = torch.from_numpy(rows_B)
    # further views: turned ones
    return torch.stack([images_NCHW[rows_B].rot90(view, (2, 3)) for view in range(views)], dim=1).flatten(
        0, 1
    )


def gradient(spec, head, worker, wrap=lambda module: module):
    network = make_network(head)
    model = wrap(TrainingModule(network, RECIPE, keep_statistics=True)).train()
    rows_B = np.arange(BATCH)
    views = views_a_chip(spec)
    outputs_BK = model(images(worker.of(rows_B), views=views))
    labels_BC = torch.from_numpy(LABELS_NC[rows_B.repeat(views)]).float()
    terms = build_loss(spec, 3, 16, seed=0)(outputs_BK, labels_BC)
    sum(terms.values()).backward()
    return [parameter.grad for parameter in network.parameters()]


def losses(worker, wrap=lambda module: module):
    network = make_network("norm")
    model = wrap(TrainingModule(network, RECIPE, keep_statistics=True))
    state, loss_of = start(network, RECIPE, len(LABELS_NC)), build_loss(OrthoHashSpec(), 3, 16, seed=0)
    chips = TrainingSet(LABELS_NC, images, views=2)
    return [train_epoch(state, model, loss_of, chips, 0, worker) for _ in range(2)]


def worker(rank, workers, folder):
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"  # a port that is free now may not be when a worker listens
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=workers)
    worker = WorkerSlice(rank, workers)
    found = [gradient(spec, head, worker, DistributedDataParallel) for spec, head in CASES]
    curve = losses(worker, DistributedDataParallel)
    if rank == 0:
        torch.save((found, curve), folder / "results.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.server
@pytest.mark.parametrize("workers", [2, 3])
def test_many_workers_are_as_one(workers, tmp_path):
    mp.spawn(worker, (workers, tmp_path), nprocs=workers)
    gradients, curve = torch.load(tmp_path / "results.pt")
    for (spec, head), spread in zip(CASES, gradients, strict=True):
        for one, many in zip(gradient(spec, head, ALONE), spread, strict=True):
            # rounding of float32, in sums of a different order, goes with the largest values
            torch.testing.assert_close(many, one, rtol=0, atol=1e-4 * one.abs().max().item())
    alone = losses(ALONE)
    for epoch, epoch_alone in zip(curve, alone, strict=True):
        for step, step_alone in zip(epoch, epoch_alone, strict=True):
            assert step == pytest.approx(step_alone, rel=1e-4)


def trained(recipe, epochs, state=None, keep_statistics=True):
    network = make_network("norm")
    fresh = start(network, recipe, len(LABELS_NC))
    if state:
        fresh.restore(state)
    model = TrainingModule(network, recipe, keep_statistics=keep_statistics)
    loss_of, inputs = build_loss(OrthoHashSpec(), 3, 16, seed=0), images
    if recipe.frozen:
        features_ND = network.eval().extract(np.zeros((len(LABELS_NC), 16, 16, 3), np.uint8))
        features_ND = features_ND + np.random.default_rng(0).normal(size=features_ND.shape)

        def inputs(rows_B, _, views):
            return torch.from_numpy(features_ND[rows_B.repeat(views)])

    chips = TrainingSet(LABELS_NC, inputs, views=2)
    steps = [train_epoch(fresh, model, loss_of, chips, 0) for _ in range(epochs)]
    return fresh, network, steps


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been():
    whole, network, steps = trained(RECIPE, 4)
    half, _, before = trained(RECIPE, 2)
    rest, resumed, after = trained(RECIPE, 2, state=half.to_checkpoint())
    assert before + after == steps
    assert rest.epoch == whole.epoch == 4
    for key, value in network.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[key], value)


def test_the_loss_falls():
    _, _, steps = trained(RECIPE, 4)
    assert steps[-1][-1]["loss"] < 0.9 * steps[0][0]["loss"]
    assert set(steps[0][0]) == {"orthohash", "contrast", "loss"}


@pytest.mark.parametrize("keep_statistics", [True, False])
def test_a_pretrained_backbone_keeps_its_batch_statistics(keep_statistics):
    before = make_network("norm").backbone.state_dict()
    _, network, _ = trained(RECIPE, 1, keep_statistics=keep_statistics)
    mean = next(key for key in before if key.endswith("running_mean"))
    weight = next(key for key in before if key.endswith("conv1.weight"))
    assert torch.equal(network.backbone.state_dict()[mean], before[mean]) == keep_statistics
    assert not torch.equal(network.backbone.state_dict()[weight], before[weight])


def test_a_frozen_backbone_stays_and_is_no_part_of_the_checkpoint():
    recipe = Recipe(epochs=1, batch_size=BATCH, learning_rate=1e-2)
    state, network, _ = trained(recipe, 1)
    for key, value in make_network("norm").backbone.state_dict().items():
        torch.testing.assert_close(network.backbone.state_dict()[key], value)
    assert not any("backbone" in key for key in state.to_checkpoint()["module"])


def test_backbone_and_head_have_their_own_rates():
    state = start(make_network("norm"), RECIPE, 10 * BATCH)
    assert [group["lr"] for group in state.optimizer.param_groups] == pytest.approx([1e-2 / 4, 1e-3 / 4])
    frozen = start(make_network("norm"), Recipe(), 1000)
    assert len(frozen.optimizer.param_groups) == 1


def test_the_best_epoch_is_kept_and_patience_ends():
    state = start(make_network("norm"), RECIPE, 10 * BATCH)
    weight = next(state.module.parameters())
    verdicts = []
    for score in (0.1, 0.3, 0.2, 0.25, 0.2):
        weight.data.fill_(score)
        verdicts.append(state.judge(score, patience=3))
    assert verdicts == [False, False, False, False, True]
    assert next(iter(state.final_weights().values())).flatten()[0].item() == pytest.approx(0.3)
    endless = start(make_network("norm"), RECIPE, 10 * BATCH)
    assert not any(endless.judge(0.0, patience=0) for _ in range(9))
    assert endless.final_weights().keys() == endless.module.state_dict().keys()


def test_a_loss_that_is_no_number_stops_before_the_step():
    network = make_network("norm")
    state = start(network, RECIPE, len(LABELS_NC))
    model = TrainingModule(network, RECIPE, keep_statistics=True)
    before = {key: value.clone() for key, value in network.head.named_parameters()}

    class Broken(torch.nn.Module):
        def forward(self, outputs_BK, labels_BC):
            return {"fine": outputs_BK.mean(), "broken": outputs_BK.mean() * math.nan}

    with pytest.raises(FloatingPointError, match="broken is nan in epoch 1"):
        train_epoch(state, model, Broken(), TrainingSet(LABELS_NC, images), 0)
    for key, value in network.head.named_parameters():
        torch.testing.assert_close(value, before[key])


def test_the_rate_warms_up_and_falls():
    rates = [rate_at(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == 1
    assert np.argmax(rates) in (9, 10)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert math.isclose(rates[100], 0, abs_tol=1e-9)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch_size": 1},
        {"learning_rate": 0},
        {"backbone_learning_rate": -1},
        {"patience": -1},
    ],
)
def test_a_recipe_is_checked(change):
    with pytest.raises(ValueError, match="must be"):
        Recipe(**change)
