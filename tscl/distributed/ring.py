"""Normalisers and sums over the pairs of all processes, while no process holds the vectors of all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from tscl.functional.pairs import TwinBlock, connected_zero
from tscl.functional.tiles import Judge, PairBlock, column_ids


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
        turn = _Turn(_lengths(k))
        for stop, visitors in turn.stops(_leaving(k, without, within)):
            block = _block(q, visitors, without, within, home=stop == 0)
            block.add_normalisers(rows, columns, own, total)
            [columns] = turn.receive(turn.send(stop, [columns], home=True))
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
        leaving = [*_leaving(k, without, within), columns, of_columns.contiguous()]
        for stop, (*vectors, columns, of_columns) in turn.stops(leaving):
            block = _block(q, vectors, without, within, home=stop == 0)
            block.add_gradients((rows, columns), (of_rows, of_columns, of_own, of_total), grad_q, grad_k)
            [grad_k] = turn.receive(turn.send(stop, [grad_k], home=True))
        return grad_q.to(q.dtype), grad_k.to(k.dtype), None, None


def _leaving(k: Tensor, without: Tensor | None, within: Tensor | None) -> list[Tensor]:
    """Return what the columns of this process take with them: vectors, and their ids."""
    return [k.contiguous(), *(column_ids(ids, len(k)) for ids in (without, within) if ids is not None)]


def _block(q: Tensor, visitors: list[Tensor], without: Tensor | None, within: Tensor | None, home: bool) -> PairBlock:
    """Pair the own rows with the columns that are here."""
    k, *theirs = visitors
    left_out, summed = (None if mine is None else (mine, theirs.pop(0)) for mine in (without, within))
    return PairBlock(q, k, left_out, summed, home=home)


def ring_twins(z1: Tensor, z2: Tensor, sizes: list[int]) -> Tensor:
    """Return what the own vectors add to :func:`tscl.functional.twin_contrast` of those of all processes.

    The vectors go round once for the log-sum-exps. If a gradient will be asked for they go round once more, right away,
    with their log-sum-exps: the similarities are symmetric, so that is all it takes, and nothing has to come home.

    Parameters
    ----------
    z1, z2 : Tensor, shape (G, N, D), floating
        Two views of the vectors of this process; processes may differ in N.
    sizes : list of int
        N of every process.

    Returns
    -------
    Tensor, scalar, float32 or float64
        Its sum over processes is the mean over groups and vectors, and its gradient is that of this sum; exactly 0
        when there is one vector in all, or no group.
    """
    if len(z1) == 0 or sum(sizes) <= 1:
        return connected_zero(z1, z2)
    return _RingTwins.apply(z1, z2, sizes)


class _RingTwins(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z1: Tensor, z2: Tensor, sizes: list[int]) -> Tensor:
        with torch.autocast(z1.device.type, enabled=False):
            leaving = torch.cat([z1, z2], dim=1).transpose(0, 1).contiguous()
            z = leaving.transpose(0, 1)
            rows = z.new_full(z.shape[:2], -torch.inf, dtype=torch.promote_types(z.dtype, torch.float32))
            total = rows.new_zeros(())
            turn = _Turn([2 * size for size in sizes])
            for stop, [others] in turn.stops([leaving]):
                TwinBlock(z, others.transpose(0, 1), home=stop == 0).add_normalisers(rows, total)
            gradient = None
            if any(ctx.needs_input_grad):
                gradient = torch.zeros_like(z, dtype=rows.dtype)
                for stop, [others, theirs] in turn.stops([leaving, rows.T.contiguous()]):
                    TwinBlock(z, others.transpose(0, 1), home=stop == 0).add_gradient(rows, theirs.T, gradient)
                gradient = gradient.to(z.dtype)
            ctx.save_for_backward(gradient)
            ctx.scale = 1.0 / (len(z1) * sum(turn.lengths))
            return (total + rows.sum()) * ctx.scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return *(gradient * (grad_outputs[0] * ctx.scale)).chunk(2, dim=1), None


def ring_sum(judge: Judge, mine: tuple[Tensor, ...], k: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of ``judge(*mine, k, labels)`` over the columns of all processes.

    What belongs to rows stays; columns go round, in the backward pass with their gradient, for which every block is
    judged once more.

    Parameters
    ----------
    judge : callable
        Of what belongs to the own rows, some columns and their labels, to a scalar.
    mine : tuple of Tensor, floating
        Rows of this process, and what else ``judge`` depends on.
    k : Tensor, shape (M, D), floating
        Columns of this process.
    labels : Tensor, shape (M, L), integer
        What ``judge`` knows columns by.

    Returns
    -------
    Tensor, scalar
        The gradient with respect to ``mine`` is its own, that with respect to ``k`` is of the sum over processes.
    """
    return _RingSum.apply(judge, k, labels, *mine)


class _RingSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, judge: Judge, k: Tensor, labels: Tensor, *mine: Tensor) -> Tensor:
        ctx.judge, ctx.turn = judge, _Turn(_lengths(k))
        ctx.save_for_backward(k, labels, *mine)
        stops = ctx.turn.stops([k.contiguous(), labels.contiguous()])
        return torch.stack([judge(*mine, *visitors) for _, visitors in stops]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        k, labels, *mine = ctx.saved_tensors
        grad_k, *of_mine = (torch.zeros_like(one) for one in (k, *mine))
        for stop, (theirs, of_theirs) in ctx.turn.stops([k.contiguous(), labels.contiguous()]):
            with torch.enable_grad():
                inputs = [one.detach().requires_grad_() for one in (theirs, *mine)]
                judged = ctx.judge(*inputs[1:], inputs[0], of_theirs)
            for total, found in zip((grad_k, *of_mine), torch.autograd.grad(judged, inputs, grad_outputs), strict=True):
                total += found
            [grad_k] = ctx.turn.receive(ctx.turn.send(stop, [grad_k], home=True))
        return None, grad_k, None, *of_mine


def _lengths(k: Tensor) -> list[int]:
    """Return how many columns every process has."""
    mine = torch.tensor([len(k)], device=k.device)
    every = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(every, mine)
    return torch.cat(every).tolist()


Arriving = tuple[list[Any], list[Tensor], list[Tensor]]
"""What has to be waited for, what is sent until then, and where it arrives."""


class _Turn:
    """One turn of the columns of every process through all of them.

    Parameters
    ----------
    lengths : list of int
        Columns of every process.
    """

    def __init__(self, lengths: list[int]) -> None:
        self.rank, self.world, self.lengths = dist.get_rank(), len(lengths), lengths

    def stops(self, leaving: list[Tensor]) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield the number of every stop, and the columns that are here then; they travel on in the meantime."""
        visitors = leaving
        for stop in range(self.world):
            arriving = self.send(stop, visitors)
            yield stop, visitors
            visitors = self.receive(arriving)

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
