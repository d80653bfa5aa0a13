"""The one place that talks to other processes: batches joined over all of them, with the exact gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Return the number of processes, 1 where none were started."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class JoinedBatch:
    """How the batches of all processes lie behind each other.

    Every process computes the loss of the joined batch, and its own rows get their exact gradient times the number of
    processes: averaged over processes, as ``DistributedDataParallel`` does, the gradients of the parameters are those
    of one process with the joined batch. Batches may differ in size from process to process.

    Parameters
    ----------
    rows : int
        Windows of this process.
    steps : int
        Time steps of its embeddings; where processes differ, all are cut to the fewest.
    device : torch.device
        Where the communication happens.
    """

    def __init__(self, rows: int, steps: int, device: torch.device) -> None:
        mine = torch.tensor([rows, steps], device=device)
        every = [torch.empty_like(mine) for _ in range(world_size())]
        dist.all_gather(every, mine)
        self.sizes, all_steps = torch.stack(every).T.tolist()
        self.steps = min(all_steps)
        self.rank = dist.get_rank()

    def weighted(self, loss: Tensor) -> Tensor:
        """Return the loss, a mean over the own rows, with the gradient that it has in the mean over all rows."""
        share = self.sizes[self.rank] * len(self.sizes) / sum(self.sizes)
        return loss + (share - 1) * (loss - loss.detach())

    def embeddings(self, z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
        """Join two views, each of shape (B, D, T), over all processes: (all B, D, T)."""
        both = torch.stack([z1[..., : self.steps], z2[..., : self.steps]], dim=1)
        joined = _Gather.apply(both, self.sizes, self.rank)
        return joined[:, 0], joined[:, 1]

    def tensor(self, one: Tensor) -> Tensor:
        """Join a tensor (B, ...) over all processes."""
        return _Gather.apply(one, self.sizes, self.rank)

    def ids(self, levels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Join the ids of every level."""
        if not levels:
            return {}
        return dict(zip(levels, self.tensor(torch.stack([*levels.values()], dim=1)).T, strict=True))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mine: Tensor, sizes: list[int], rank: int) -> Tensor:
        ctx.sizes, ctx.rank = sizes, rank
        padded = mine.new_zeros(max(sizes), *mine.shape[1:])
        padded[: len(mine)] = mine
        every = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(every, padded)
        return torch.cat([one[:size] for one, size in zip(every, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        own = grad_outputs[0].split(ctx.sizes)[ctx.rank]
        return own * len(ctx.sizes), None, None
