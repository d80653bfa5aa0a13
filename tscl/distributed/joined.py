"""Batches joined over all processes, with the exact gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tscl.distributed.ring import ring_logsumexp, ring_sum, ring_twins
from tscl.functional.tiles import Judge


def world_size() -> int:
    """Return the number of processes, 1 where none were started."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_of_all(mine: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, without a gradient."""
    total = mine.detach().clone()
    dist.all_reduce(total)
    return total


class JoinedBatch:
    """How the batches of all processes lie behind each other.

    Either every process gathers the joined batch and computes its loss, or each computes the part of its own rows while
    the rows of the others go round (:meth:`pair_logsumexp`, :meth:`twin_contrast`, :meth:`pair_sum`). Own rows get
    their exact gradient times the number of processes: averaged over processes, as ``DistributedDataParallel`` does,
    the gradients of the parameters are those of one process with the joined batch. Batches may differ in size from
    process to process.

    Parameters
    ----------
    rows : int
        Windows of this process.
    steps : int
        Time steps of its embeddings; where processes differ, all are cut to the fewest.
    device : torch.device
        Where the communication happens.

    Attributes
    ----------
    own : slice
        The place of this process's windows among all.
    share : float
        How much of all windows it has.
    """

    def __init__(self, rows: int, steps: int, device: torch.device) -> None:
        mine = torch.tensor([rows, steps], device=device)
        every = [torch.empty_like(mine) for _ in range(world_size())]
        dist.all_gather(every, mine)
        self.sizes, all_steps = torch.stack(every).T.tolist()
        self.steps = min(all_steps)
        self.rank = dist.get_rank()
        start = sum(self.sizes[: self.rank])
        self.own = slice(start, start + rows)
        self.share = rows / sum(self.sizes)

    def weighted(self, loss: Tensor) -> Tensor:
        """Return the loss, a mean over the own rows, with the gradient that it has in the mean over all rows."""
        return loss + (self.share * len(self.sizes) - 1) * (loss - loss.detach())

    def cut(self, z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
        """Cut two views, each of shape (B, D, T), to the steps that all processes have."""
        return z1[..., : self.steps], z2[..., : self.steps]

    def embeddings(self, z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
        """Join two views, each of shape (B, D, T), over all processes: (all B, D, T)."""
        both = torch.stack(self.cut(z1, z2), dim=1)
        joined = _Gather.apply(both, self.sizes, self.rank)
        return joined[:, 0], joined[:, 1]

    def tensor(self, one: Tensor) -> Tensor:
        """Join a tensor (B, ...) over all processes."""
        return _Gather.apply(one, self.sizes, self.rank)

    def pair_logsumexp(
        self, q: Tensor, k: Tensor, *, without: Tensor | None = None, within: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the normalisers of the own rows and columns; see :func:`tscl.distributed.ring.ring_logsumexp`."""
        return ring_logsumexp(q, k, without=without, within=within)

    def twin_contrast(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the own part of a contrast of twins; see :func:`tscl.distributed.ring.ring_twins`."""
        return ring_twins(z1, z2, self.sizes)

    def pair_sum(self, judge: Judge, mine: tuple[Tensor, ...], k: Tensor, labels: Tensor) -> Tensor:
        """Return a sum over pairs with the columns of all processes; see :func:`tscl.distributed.ring.ring_sum`."""
        return ring_sum(judge, mine, k, labels)

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
