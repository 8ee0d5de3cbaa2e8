"""Rows that data-parallel workers exchange.

Shapes: B rows of this worker, G rows of all workers.
"""

import torch.distributed as dist
from torch import Tensor
from torch.distributed._functional_collectives import all_gather_tensor, all_gather_tensor_autograd


def global_batch(rows_B: Tensor) -> Tensor:
    """Return rows_G of all workers, in order of rank; in a single process the rows themselves.

    Gradients flow back to each worker's own rows. Every worker computes the loss of the global batch. As DDP
    averages their gradients, the result is the gradient of a single process over that batch.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows_B
    gather = all_gather_tensor_autograd if rows_B.requires_grad else all_gather_tensor
    everyone = dist.group.WORLD
    assert everyone is not None  # noqa: S101 - the group is initialised
    rows_G: Tensor = gather(rows_B.contiguous(), 0, everyone)
    return rows_G
