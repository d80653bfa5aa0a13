"""Normalisers over the pairs of all processes, while no process holds the vectors of all."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from tscl.functional.tiles import PairBlock, column_ids


def ring_logsumexp(
    q: Tensor, k: Tensor, *, without: Tensor | None = None, within: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what :func:`tscl.functional.tiles.pair_logsumexp` returns for the pairs of all processes.

    Rows stay where they are. The columns of every process travel to the next one until they are home again, and with
    them go their log-sum-exps, and in the backward pass their gradient. A process holds its own vectors, the columns of
    one other process, and those that are on their way to it. All processes have to call it, also in the backward pass.

    Parameters
    ----------
    q : Tensor, shape (N, D), floating
        Rows of this process.
    k : Tensor, shape (M, D), floating
        Columns of this process, at least N; processes may differ in N and M.
    without, within : Tensor, shape (N,), integer, optional
        Ids of the own rows and columns; they are compared with those of all processes.

    Returns
    -------
    rows : Tensor, shape (N,), float32 or float64
        Log-sum-exps of the own rows over the columns of all processes.
    columns : Tensor, shape (M,), float32 or float64
        Log-sum-exps of the own columns over the rows of all processes.
    own : Tensor, shape (N,), float32 or float64
        Similarity of each of ``q`` with its own ``k``.
    total : Tensor, scalar, float32 or float64
        Sum of the similarities of the own rows with the columns ``within``. The gradient of all four is that of the sum
        of the losses of all processes.
    """
    return _RingNormalisers.apply(q, k, without, within)


class _RingNormalisers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, without: Tensor | None, within: Tensor | None) -> tuple[Tensor, ...]:
        rows = q.new_full((len(q),), -torch.inf, dtype=torch.promote_types(q.dtype, torch.float32))
        columns, own, total = rows.new_full((len(k),), -torch.inf), torch.empty_like(rows), rows.new_zeros(())
        turn = _Turn(len(k), k.device)
        visitors = _leaving(k, without, within)
        for stop in range(turn.world):
            arriving = turn.send(stop, visitors)
            block = _block(q, visitors, without, within, home=stop == 0)
            block.add_normalisers(rows, columns, own, total)
            [columns] = turn.receive(turn.send(stop, [columns], home=True))
            visitors = turn.receive(arriving)
        ctx.turn = turn
        ctx.save_for_backward(q, k, without, within, rows, columns)
        return rows, columns, own, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        q, k, without, within, rows, columns = ctx.saved_tensors
        of_rows, of_columns, of_own, of_total = grad_outputs
        grad_q, grad_k = (rows.new_zeros(one.shape) for one in (q, k))
        turn = ctx.turn
        visitors = [*_leaving(k, without, within), columns, of_columns.contiguous()]
        for stop in range(turn.world):
            arriving = turn.send(stop, visitors)
            *vectors, columns, of_columns = visitors
            block = _block(q, vectors, without, within, home=stop == 0)
            block.add_gradients((rows, columns), (of_rows, of_columns, of_own, of_total), grad_q, grad_k)
            [grad_k] = turn.receive(turn.send(stop, [grad_k], home=True))
            visitors = turn.receive(arriving)
        return grad_q.to(q.dtype), grad_k.to(k.dtype), None, None


def _leaving(k: Tensor, without: Tensor | None, within: Tensor | None) -> list[Tensor]:
    """Return what the columns of this process take with them: vectors, and their ids."""
    return [k.contiguous(), *(column_ids(ids, len(k)) for ids in (without, within) if ids is not None)]


def _block(q: Tensor, visitors: list[Tensor], without: Tensor | None, within: Tensor | None, home: bool) -> PairBlock:
    """Pair the own rows with the columns that are here."""
    k, *theirs = visitors
    left_out, summed = (None if mine is None else (mine, theirs.pop(0)) for mine in (without, within))
    return PairBlock(q, k, left_out, summed, home=home)


Arriving = tuple[list[Any], list[Tensor], list[Tensor]]
"""What has to be waited for, what is sent until then, and where it arrives."""


class _Turn:
    """One turn of the columns of every process through all of them.

    Parameters
    ----------
    length : int
        Columns of this process.
    device : torch.device
        Where they are.
    """

    def __init__(self, length: int, device: torch.device) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        mine = torch.tensor([length], device=device)
        every = [torch.empty_like(mine) for _ in range(self.world)]
        dist.all_gather(every, mine)
        self.lengths = torch.cat(every).tolist()

    def send(self, stop: int, leaving: list[Tensor], home: bool = False) -> Arriving:
        """Start to send what is here at a stop to the next process; at the last stop only what goes ``home``."""
        if stop == self.world - 1 and not home:
            return [], [], []
        length = self.lengths[(self.rank - stop - 1) % self.world]
        coming = [one.new_empty(length, *one.shape[1:]) for one in leaving]
        to, source = (self.rank + 1) % self.world, (self.rank - 1) % self.world
        operations = []
        for tag, (one, other) in enumerate(zip(leaving, coming, strict=True), start=0 if home else 1):
            operations += [dist.P2POp(dist.isend, one, to, tag=tag), dist.P2POp(dist.irecv, other, source, tag=tag)]
        return dist.batch_isend_irecv(operations), leaving, coming

    def receive(self, arriving: Arriving) -> list[Tensor]:
        """Wait until all is sent, and return what has arrived."""
        works, _, coming = arriving
        for work in works:
            work.wait()
        return coming
