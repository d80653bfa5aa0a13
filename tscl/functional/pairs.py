"""The engine under the instance-wise contrasts: twins against everything else in their group."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tscl.functional.tiles import (
    Ring,
    add_exp,
    add_product,
    kernels_for,
    spans,
    square_side,
    tile_elements,
    tile_spans,
    without_subnormals,
)


class _TwinContrast(torch.autograd.Function):
    """Value and gradient in one call; neither keeps more than a tile of the similarities.

    The gradient of the loss with respect to ``z`` is ``(P + P^T) z`` minus the twins, ``P`` being the row-wise softmax.
    Small groups are swept once, several whole matrices at a time. A matrix larger than a tile is swept twice, first for
    the log-sum-exps, then for the gradient; it is symmetric, so a tile serves its rows and its columns.
    """

    @staticmethod
    def forward(ctx: Any, z1: Tensor, z2: Tensor) -> Tensor:
        groups, n, dim = z1.shape
        gradients = [torch.empty_like(z) for z in (z1, z2)] if any(ctx.needs_input_grad) else []
        sweep, size = _sweep(z1.device, z1.dtype, groups, n, dim)
        scale = 1.0 / (groups * 2 * n)
        total = z1.new_zeros((), dtype=torch.promote_types(z1.dtype, torch.float32))
        with torch.autocast(z1.device.type, enabled=False):
            for part in spans(groups, size):
                z = torch.cat([z1[part], z2[part]], dim=1)
                gradient = torch.empty_like(z) if gradients else None
                total += sweep(z, gradient)
                if gradient is not None:
                    for whole, of_view in zip(gradients, gradient.split(n, dim=1), strict=True):
                        torch.mul(of_view, scale, out=whole[part])
        ctx.save_for_backward(*gradients)
        return total * scale

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(gradient * grad_outputs[0] for gradient in ctx.saved_tensors)


Sweep = Callable[[Tensor, Tensor | None], Tensor]
"""Sums over the vectors (G, 2N, D) of some groups, and writes the gradient where there is a place for it."""


def _sweep(device: torch.device, dtype: torch.dtype, groups: int, n: int, dim: int) -> tuple[Sweep, int]:
    """Return what does the work, and how many groups of n pairs of vectors it takes at a time."""
    fitting = tile_elements(device) // (4 * n * n)
    if fitting:
        return _whole_matrices, fitting
    kernels = kernels_for(device, dtype, dim)
    return (_by_tiles, 1) if kernels is None else (partial(_by_kernels, kernels), groups)


def _whole_matrices(z: Tensor, gradient: Tensor | None) -> Tensor:
    """Sum over all vectors the log-sum-exp of the others of their group minus the twin; write the gradient."""
    n = z.shape[1] // 2
    similarity = torch.bmm(z, z.mT).to(torch.promote_types(z.dtype, torch.float32))
    similarity.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
    twins, largest = similarity.diagonal(n, 1, 2).sum(), similarity.amax(dim=2)
    softmax = torch.softmax(similarity, dim=2)
    # The log-sum-exp from the largest similarity and its softmax, which cannot underflow.
    total = (largest - softmax.amax(dim=2).log()).sum() - 2 * twins
    if gradient is not None:
        # Twins are taken off before the product: the difference of two products would drown in their rounding.
        share = torch.add(softmax, softmax.mT, out=similarity)
        for twin in (n, -n):
            share.diagonal(twin, 1, 2).sub_(2)
        torch.bmm(without_subnormals(share).to(z.dtype), z, out=gradient)
    return total


def _by_tiles(z: Tensor, gradient: Tensor | None) -> Tensor:
    """Do the same for a single group in tiles."""
    [group] = z
    normaliser = group.new_full((len(group),), -torch.inf, dtype=torch.promote_types(z.dtype, torch.float32))
    total = normaliser.new_zeros(())
    for i, j, similarity in _upper_tiles(group, total.dtype):
        add_exp(normaliser[i], similarity.logsumexp(dim=1))
        if i != j:
            add_exp(normaliser[j], similarity.logsumexp(dim=0))
        total -= 2 * similarity.diagonal(len(group) // 2 + i.start - j.start).sum()
    if gradient is not None:
        gradient[0] = _gradient_by_tiles(group, normaliser)
    return total + normaliser.sum()


def _by_kernels(kernels: ModuleType, z: Tensor, gradient: Tensor | None) -> Tensor:
    """Do the same for all groups in kernels."""
    total, n = kernels.twin_sum(z, gradient), z.shape[1] // 2
    first, second = z[:, :n], z[:, n:]
    if gradient is not None:
        gradient[:, :n] -= 2 * second
        gradient[:, n:] -= 2 * first
    return total - 2 * (first * second).sum(dtype=total.dtype)


def _gradient_by_tiles(group: Tensor, normaliser: Tensor) -> Tensor:
    gradient = torch.zeros_like(group, dtype=normaliser.dtype)
    n = len(group) // 2
    for i, j, similarity in _upper_tiles(group, normaliser.dtype):
        share = (similarity - normaliser[i, None]).exp_()
        share += similarity.sub_(normaliser[j]).exp_()
        for twin in {n, n if i != j else -n}:
            share.diagonal(twin + i.start - j.start).sub_(2)
        share = without_subnormals(share).to(group.dtype)
        add_product(gradient[i], share, group[j])
        if i != j:
            add_product(gradient[j], share.T, group[i])
    return gradient


def _upper_tiles(z: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield the tiles of ``z @ z.T`` on and above the diagonal, which is minus infinity."""
    parts = spans(len(z), square_side(z.device))
    for number, i in enumerate(parts):
        for j in parts[number:]:
            similarity = (z[i] @ z[j].T).to(dtype)
            if i == j:
                similarity.fill_diagonal_(-torch.inf)
            yield i, j, similarity


class TwinBlock(NamedTuple):
    """Some rows and columns of the matrices of similarities of every group, swept in tiles.

    Attributes
    ----------
    z : Tensor, shape (G, 2 N, D), floating
        Vectors of one view, and behind them those of the other.
    others : Tensor, shape (G, M, D), floating
        What they are compared with.
    home : bool
        Whether the others are the same vectors: none is compared with itself then, and the twins are among them.
    """

    z: Tensor
    others: Tensor
    home: bool

    def add_normalisers(self, rows: Tensor, total: Tensor) -> None:
        """Add the pairs, in place, to the log-sum-exps of the rows (G, 2 N); take twins off ``total``."""
        for group, i, j, similarity in self._similarities(rows.dtype):
            add_exp(rows[group, i], similarity.logsumexp(dim=2))
            for twins in self._twins(similarity, i, j):
                total -= twins.sum()

    def add_gradient(self, rows: Tensor, columns: Tensor, gradient: Tensor) -> None:
        """Add the others' part of the gradient of ``z``, in place, given complete log-sum-exps of both sides."""
        for group, i, j, similarity in self._similarities(rows.dtype):
            share = (similarity - rows[group, i, None]).exp_()
            share += similarity.sub_(columns[group, None, j]).exp_()
            for twins in self._twins(share, i, j):
                twins.sub_(2)
            gradient[group, i] += torch.bmm(without_subnormals(share).to(self.z.dtype), self.others[group, j])

    def _similarities(self, dtype: torch.dtype) -> Iterator[tuple[slice, slice, slice, Tensor]]:
        """Yield the tiles, those of several groups at a time where they are small."""
        (groups, n, _), m = self.z.shape, self.others.shape[1]
        for group in spans(groups, max(1, tile_elements(self.z.device) // (n * m))):
            for i, j in tile_spans(n, m, self.z.device):
                similarity = torch.bmm(self.z[group, i], self.others[group, j].mT).to(dtype)
                if self.home:
                    similarity.diagonal(i.start - j.start, 1, 2).fill_(-torch.inf)
                yield group, i, j, similarity

    def _twins(self, tile: Tensor, i: slice, j: slice) -> list[Tensor]:
        """Return the places of a tile, as views, in which a vector meets its twin."""
        n = self.z.shape[1] // 2
        return [tile.diagonal(twin + i.start - j.start, 1, 2) for twin in (n, -n)] if self.home else []


def at_least_single(z: Tensor) -> Tensor:
    """Return a tensor of half precision in single precision, any other as it is."""
    return z.to(torch.promote_types(z.dtype, torch.float32))


def check_pooled(h1: Tensor, h2: Tensor) -> None:
    """Raise ValueError when two pooled views are not of one shape (B, D)."""
    if h1.ndim != 2 or h1.shape != h2.shape:
        raise ValueError(f"expected two embeddings of one shape (B, D), got {tuple(h1.shape)} and {tuple(h2.shape)}.")


def connected_zero(z1: Tensor, z2: Tensor) -> Tensor:
    """Return an exact 0, in single precision at least, that both tensors get a zero gradient from."""
    return at_least_single(z1.flatten()[:0]).sum() + at_least_single(z2.flatten()[:0]).sum()


def twin_contrast(z1: Tensor, z2: Tensor, ring: Ring | None = None) -> Tensor:
    r"""Cross-entropy of finding each vector's twin among all other vectors of its group.

    For every group, the 2N vectors of both views are compared by dot product; a vector's positive is the same vector in
    the other view, every other vector of the group is a negative, and a vector is not compared with itself.

    Parameters
    ----------
    z1, z2 : Tensor, shape (G, N, D), floating
        Two views of N vectors in each of G independent groups.
    ring : Ring, optional
        Further vectors of every group are on other processes. The result is then what the own ones add to the mean, and
        its gradient is that of the sum over processes, all of which have to call it.

    Returns
    -------
    Tensor, scalar
        Mean over groups and vectors; exactly 0 when N is 1 or there is no group.
    """
    if ring is not None:
        return ring.twin_contrast(z1, z2)
    if z1.shape[0] == 0 or z1.shape[1] <= 1:
        return connected_zero(z1, z2)
    return _TwinContrast.apply(z1, z2)
