"""What data-parallel workers share.

Shapes: B rows of this worker, G rows of all workers.
"""

import torch.distributed as dist
from torch import Tensor
from torch.distributed._functional_collectives import all_gather_tensor, all_gather_tensor_autograd


def global_batch(rows_B: Tensor) -> Tensor:
    """Return the rows of all workers, in order of rank; alone, the rows themselves.

    Gradients flow back to every worker's own rows. With DDP, which averages gradients, a loss of the
    global batch that every worker computes gives the gradient of one process over that batch.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows_B
    gather = all_gather_tensor_autograd if rows_B.requires_grad else all_gather_tensor
    everyone = dist.group.WORLD
    assert everyone is not None  # noqa: S101 - the group is initialised
    rows_G: Tensor = gather(rows_B.contiguous(), 0, everyone)
    return rows_G
