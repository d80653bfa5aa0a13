"""The tiles of ``tiles`` and ``pairs`` as Triton kernels, for vectors of half precision on a GPU.

A program owns some rows of the matrix of similarities and goes along them; what belongs to columns is computed by the
same kernel with both sides exchanged. So no two programs write to one place, and results are the same in every run.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable


class Tile(NamedTuple):
    """How a kernel is cut: rows that a program owns, columns at a time, warps, tiles of columns in flight."""

    own: int
    other: int
    warps: int
    stages: int


NORMALISER_TILES = {
    64: Tile(128, 128, 8, 3),
    128: Tile(128, 128, 8, 3),
    256: Tile(128, 64, 8, 3),
    512: Tile(64, 32, 8, 3),
}
GRADIENT_TILES = {
    64: Tile(128, 64, 8, 3),
    128: Tile(128, 64, 8, 3),
    256: Tile(128, 64, 8, 2),
    512: Tile(64, 32, 8, 3),
}
"""By the largest number of dimensions that they are for; what they take fits compute capability 8.0."""

LARGEST_DIM = max(GRADIENT_TILES)
SHARED_BYTES = 163 * 1024
"""Shared memory that a program may take."""

HEADROOM = 2.0**13
"""What the largest weight of a row or column is scaled to: three of them stay in the range of float16."""


def tile_of(tiles: dict[int, Tile], dim: int) -> Tile:
    """Return the tile for vectors of ``dim`` dimensions."""
    return next(tile for largest, tile in tiles.items() if dim <= largest)


def padded(dim: int) -> int:
    """Return the dimensions that a program computes with: a power of two, at least what a matrix unit takes."""
    return max(16, triton.next_power_of_2(dim))


@triton.jit
def _vectors(pointer, left, DIM: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr):
    """Load the next vectors, zeros where fewer than ``ROWS`` are left."""
    row, column = tl.arange(0, ROWS)[:, None], tl.arange(0, PADDED)[None, :]
    return tl.load(pointer + row * DIM + column, mask=(row < left) & (column < DIM), other=0.0)


@triton.jit
def _copies(ids, i, j, n_ids):
    """Mark the pairs of a tile that have one id, 0 or more, and are not a vector with itself."""
    own = tl.load(ids + i, mask=i < n_ids, other=-1)[:, None]
    other = tl.load(ids + j, mask=j < n_ids, other=-1)[None, :]
    return (own == other) & (own >= 0) & (i[:, None] != j[None, :])


@triton.jit
def normaliser_kernel(
    own,
    other,
    without,
    within,
    normaliser,
    diagonal,
    within_sum,
    n_own,
    n_other,
    n_ids,
    DIM: tl.constexpr,
    PADDED: tl.constexpr,
    TWINS: tl.constexpr,
    OWN: tl.constexpr,
    OTHER: tl.constexpr,
):
    """Write log-sum-exps of the rows of ``own @ other.T``; its diagonal and sums ``within``, where a place is given.

    With ``TWINS`` a vector is not compared with itself. Ids, and the places of what is not asked for, may be None.
    """
    first = tl.program_id(0) * OWN
    i = first + tl.arange(0, OWN)
    mine = _vectors(own + first.to(tl.int64) * DIM, n_own - first, DIM, PADDED, OWN)
    if diagonal is not None:
        partner = _vectors(other + first.to(tl.int64) * DIM, n_other - first, DIM, PADDED, OWN)
        itself = tl.arange(0, OWN)[:, None] == tl.arange(0, OWN)[None, :]
        tl.store(diagonal + i, tl.sum(tl.where(itself, tl.dot(mine, partner.T), 0.0), axis=1), mask=i < n_own)
    largest = tl.full((OWN,), float("-inf"), tl.float32)
    total = tl.zeros((OWN,), tl.float32)
    summed = tl.zeros((OWN,), tl.float32)
    for start in range(0, n_other, OTHER):
        j = start + tl.arange(0, OTHER)
        similarity = tl.dot(mine, _vectors(other, n_other - start, DIM, PADDED, OTHER).T)
        similarity = tl.where(j[None, :] < n_other, similarity, float("-inf"))
        if TWINS:
            similarity = tl.where(i[:, None] == j[None, :], float("-inf"), similarity)
        if without is not None:
            similarity = tl.where(_copies(without, i, j, n_ids), float("-inf"), similarity)
        if within is not None:
            summed += tl.sum(tl.where(_copies(within, i, j, n_ids), similarity, 0.0), axis=1)
        larger = tl.maximum(largest, tl.max(similarity, axis=1))
        base = tl.where(larger == float("-inf"), 0.0, larger)
        total = total * tl.exp(largest - base) + tl.sum(tl.exp(similarity - base[:, None]), axis=1)
        largest = larger
        other += OTHER * DIM
    tl.store(normaliser + i, largest + tl.log(total), mask=i < n_own)
    if within is not None:
        tl.store(within_sum + i, summed, mask=i < n_own)


@triton.jit
def gradient_kernel(
    own,
    other,
    without,
    within,
    own_normaliser,
    other_normaliser,
    own_weight,
    other_weight,
    diagonal_weight,
    within_weight,
    scale,
    gradient,
    n_own,
    n_other,
    n_diagonal,
    n_ids,
    DIM: tl.constexpr,
    PADDED: tl.constexpr,
    OWN: tl.constexpr,
    OTHER: tl.constexpr,
):
    """Write ``weights @ other * scale``, where the weights of a tile are made from its similarities.

    The softmax over the row times the row's weight, plus that over the column times the column's. The diagonal, where
    both may nearly cancel what is subtracted from them, has a weight of its own that is not rounded to half precision.
    """
    first = tl.program_id(0) * OWN
    i = first + tl.arange(0, OWN)
    mine = _vectors(own + first.to(tl.int64) * DIM, n_own - first, DIM, PADDED, OWN)
    my_normaliser = tl.load(own_normaliser + i, mask=i < n_own, other=float("inf"))[:, None]
    my_weight = tl.load(own_weight + i, mask=i < n_own, other=0.0)[:, None]
    result = tl.zeros((OWN, PADDED), tl.float32)
    if diagonal_weight is not None:
        partner = _vectors(other + first.to(tl.int64) * DIM, n_other - first, DIM, PADDED, OWN)
        result += tl.load(diagonal_weight + i, mask=i < n_diagonal, other=0.0)[:, None] * partner.to(tl.float32)
    for start in range(0, n_other, OTHER):
        j = start + tl.arange(0, OTHER)
        theirs = _vectors(other, n_other - start, DIM, PADDED, OTHER)
        their_normaliser = tl.load(other_normaliser + j, mask=j < n_other, other=float("inf"))[None, :]
        their_weight = tl.load(other_weight + j, mask=j < n_other, other=0.0)[None, :]
        left_out = (i[:, None] == j[None, :]) | (j[None, :] >= n_other)
        if without is not None:
            left_out = left_out | _copies(without, i, j, n_ids)
        similarity = tl.where(left_out, float("-inf"), tl.dot(mine, theirs.T))
        weights = tl.exp(similarity - my_normaliser) * my_weight
        weights += tl.exp(similarity - their_normaliser) * their_weight
        if within is not None:
            weights += tl.where(_copies(within, i, j, n_ids), tl.load(within_weight), 0.0)
        result = tl.dot(weights.to(theirs.dtype), theirs, result)
        other += OTHER * DIM
    row, column = tl.arange(0, OWN)[:, None], tl.arange(0, PADDED)[None, :]
    result = (result * tl.load(scale)).to(gradient.dtype.element_ty)
    gradient += first.to(tl.int64) * DIM
    tl.store(gradient + row * DIM + column, result, mask=(row < n_own - first) & (column < DIM))


def _launch(kernel: Any, tiles: dict[int, Tile], own: Tensor, *arguments: Any, **settings: Any) -> None:
    """Start one program for every stretch of rows, on the device of the vectors."""
    dim = own.shape[1]
    tile = tile_of(tiles, dim)
    with torch.cuda.device_of(own):
        kernel[(triton.cdiv(len(own), tile.own),)](
            own,
            *arguments,
            DIM=dim,
            PADDED=padded(dim),
            OWN=tile.own,
            OTHER=tile.other,
            num_warps=tile.warps,
            num_stages=tile.stages,
            **settings,
        )


def normalisers(
    own: Tensor,
    other: Tensor,
    without: Tensor | None = None,
    within: Tensor | None = None,
    *,
    diagonal: Tensor | None = None,
    within_sum: Tensor | None = None,
    twins: bool = False,
) -> Tensor:
    """Return the log-sum-exps of the rows of ``own @ other.T``, (N,); fill the places that are given."""
    rows = own.new_empty(len(own), dtype=torch.float32)
    lengths = len(own), len(other), min(len(own), len(other))
    places = without, within, rows, diagonal, within_sum
    _launch(normaliser_kernel, NORMALISER_TILES, own, other, *places, *lengths, TWINS=twins)
    return rows


class Side(NamedTuple):
    """Vectors, the log-sum-exp of each over the other side, and the weight of its softmax."""

    vectors: Tensor
    normaliser: Tensor
    weight: Tensor


def write_gradient(
    gradient: Tensor,
    own: Side,
    other: Side,
    scale: Tensor,
    *,
    without: Tensor | None = None,
    within: Tensor | None = None,
    diagonal: Tensor | None = None,
    within_weight: Tensor | None = None,
) -> Tensor:
    """Write ``scale`` times the gradient of ``own``: weights of the softmaxes, the diagonal and pairs ``within``."""
    n, m = len(own.vectors), len(other.vectors)
    sides = own.normaliser, other.normaliser, own.weight, other.weight
    places = *sides, diagonal, within_weight, scale, gradient
    lengths = n, m, 0 if diagonal is None else len(diagonal), min(n, m)
    _launch(gradient_kernel, GRADIENT_TILES, own.vectors, other.vectors, without, within, *places, *lengths)
    return gradient


class _PairNormalisers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, without: Tensor | None, within: Tensor | None, dtype: torch.dtype
    ) -> tuple[Tensor, ...]:
        ctx.dtypes = q.dtype, k.dtype
        q, k = q.to(dtype).contiguous(), k.to(dtype).contiguous()
        without, within = (None if ids is None else ids.contiguous() for ids in (without, within))
        own = q.new_empty(len(q), dtype=torch.float32)
        sums = None if within is None else torch.empty_like(own)
        rows = normalisers(q, k, without, within, diagonal=own, within_sum=sums)
        columns = normalisers(k, q, without)
        ctx.save_for_backward(q, k, without, within, rows, columns, own)
        return rows, columns, own, own.new_zeros(()) if sums is None else sums.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        q, k, without, within, rows, columns, own = ctx.saved_tensors
        largest = torch.stack([one.abs().max() for one in grad_outputs]).max().clamp(min=1e-30)
        of_rows, of_columns, of_own, of_total = (one.contiguous() * (HEADROOM / largest) for one in grad_outputs)
        n = len(q)
        given: dict[str, Any] = {
            "scale": largest / HEADROOM,
            "without": without,
            "within": within,
            "diagonal": of_rows * (own - rows).exp() + of_columns[:n] * (own - columns[:n]).exp() + of_own,
            "within_weight": of_total,
        }
        sides = Side(q, rows, of_rows), Side(k, columns, of_columns)
        gradients = [
            write_gradient(torch.empty_like(mine.vectors, dtype=dtype), mine, theirs, **given) if needed else None
            for needed, dtype, mine, theirs in zip(
                ctx.needs_input_grad[:2], ctx.dtypes, sides, sides[::-1], strict=True
            )
        ]
        return *gradients, None, None, None


def pair_normalisers(
    q: Tensor, k: Tensor, without: Tensor | None, within: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what ``tiles.pair_logsumexp`` does; both sides are rounded to ``dtype``, their gradients are not."""
    return _PairNormalisers.apply(q, k, without, within, dtype)


def twin_sum(z: Tensor, gradient: Tensor | None) -> Tensor:
    """Sum the log-sum-exps of all vectors over the others of their group; write their gradient.

    Parameters
    ----------
    z : Tensor, shape (G, N, D), half precision
        Contiguous.
    gradient : Tensor, shape (G, N, D), optional
        Where it goes.

    Returns
    -------
    Tensor, scalar, float32
    """
    total = torch.zeros((), device=z.device)
    weight = torch.full((z.shape[1],), HEADROOM, device=z.device)
    for number, group in enumerate(z):
        rows = normalisers(group, group, twins=True)
        total += rows.sum()
        if gradient is not None:
            side = Side(group, rows, weight)
            write_gradient(gradient[number], side, side, scale=1 / weight[0])
    return total
