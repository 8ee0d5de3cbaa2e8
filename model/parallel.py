"""Rows that data-parallel workers exchange.

Shapes: B rows of this worker, G rows of all workers.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def global_batch(rows_B: Tensor) -> Tensor:
    """Return rows_G of all workers, in order of rank; in a single process the rows themselves.

    All workers must have as many rows. Gradients flow back to each worker's own rows. Every worker computes
    the loss of the global batch. As DDP averages their gradients, the result is the gradient of a single
    process over that batch.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows_B
    rows_G: Tensor = _Gather.apply(rows_B)
    return rows_G


class _Gather(torch.autograd.Function):
    """All workers' rows. A worker's gradient is the sum of what all workers' losses say of its rows."""

    @staticmethod
    def forward(_: Any, rows_B: Tensor) -> Tensor:  # noqa: ANN401
        rows_B = rows_B.contiguous()
        of_workers = [torch.empty_like(rows_B) for _ in range(dist.get_world_size())]
        dist.all_gather(of_workers, rows_B)
        return torch.cat(of_workers)

    @staticmethod
    def backward(_: Any, gradient_G: Tensor) -> Tensor:  # noqa: ANN401
        sum_G = gradient_G.clone()
        dist.all_reduce(sum_G)
        return sum_G.chunk(dist.get_world_size())[dist.get_rank()]
