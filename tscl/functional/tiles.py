"""Normalisers of softmaxes over all pairs, in tiles: the matrix of all similarities never exists."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 25}
"""Similarities held at a time by type of device: on a CPU a tile that stays near its cache."""


def tile_elements(device: torch.device) -> int:
    """Return how many similarities are held at a time on a device."""
    return TILE_ELEMENTS.get(device.type, TILE_ELEMENTS["cuda"])


def spans(length: int, step: int) -> list[slice]:
    """Cut ``range(length)`` into stretches of ``step``, the last one shorter."""
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def square_side(device: torch.device) -> int:
    """Return the side of a square tile."""
    return int(tile_elements(device) ** 0.5)


def kernels_for(device: torch.device, dtype: torch.dtype, dim: int) -> ModuleType | None:
    """Return the kernels for such vectors, None where PyTorch serves: all but half precision on a GPU."""
    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        return None
    kernels = _kernels(device)
    return kernels if kernels is not None and dim <= kernels.LARGEST_DIM else None


@cache
def _kernels(device: torch.device) -> ModuleType | None:
    """Import the kernels if Triton is installed, the GPU has the shared memory for them, and one can be run."""
    try:
        from tscl.functional import triton_tiles
    except ImportError:
        return None
    if torch.cuda.get_device_properties(device).shared_memory_per_block_optin < triton_tiles.SHARED_BYTES:
        return None
    try:
        triton_tiles.normalisers(*torch.zeros(2, 1, 16, dtype=torch.float16, device=device))
    except Exception as error:
        warnings.warn(f"Triton cannot build kernels here ({error}): contrasts are computed by PyTorch.", stacklevel=2)
        return None
    return triton_tiles


def _tiles(n: int, m: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """Yield rows and columns of the tiles of an (n, m) matrix: square, and longer where the matrix is narrow."""
    elements = tile_elements(device)
    side = square_side(device)
    height = max(side, elements // max(m, 1))
    width = max(side, elements // max(min(n, height), 1))
    for rows in spans(n, height):
        for columns in spans(m, width):
            yield rows, columns


def add_exp(total: Tensor, more: Tensor) -> None:
    """Set ``total`` to ``log(exp(total) + exp(more))``, in place."""
    torch.logaddexp(total, more, out=total)


class _PairNormalisers(torch.autograd.Function):
    """Log-sum-exps over rows and columns, diagonal, sum of pairs; the backward pass computes the tiles once more."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, without: Tensor | None, within: Tensor | None) -> tuple[Tensor, ...]:
        rows = q.new_full((len(q),), -torch.inf, dtype=torch.promote_types(q.dtype, torch.float32))
        columns, own, total = rows.new_full((len(k),), -torch.inf), torch.empty_like(rows), rows.new_zeros(())
        with torch.autocast(q.device.type, enabled=False):
            for i, j in _tiles(len(q), len(k), q.device):
                similarity = _similarity(q, k, without, i, j, rows.dtype)
                add_exp(rows[i], similarity.logsumexp(dim=1))
                add_exp(columns[j], similarity.logsumexp(dim=0))
                diagonal, both = _diagonal(similarity, i, j)
                own[both] = diagonal
                if within is not None:
                    total += similarity.masked_fill_(~_copies(within, i, j), 0.0).sum()
        ctx.save_for_backward(q, k, without, within, rows, columns)
        return rows, columns, own, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        q, k, without, within, rows, columns = ctx.saved_tensors
        of_rows, of_columns, of_own, of_total = grad_outputs
        grad_q, grad_k = torch.zeros_like(q, dtype=rows.dtype), torch.zeros_like(k, dtype=rows.dtype)
        with torch.autocast(q.device.type, enabled=False):
            for i, j in _tiles(len(q), len(k), q.device):
                similarity = _similarity(q, k, without, i, j, rows.dtype)
                share = (similarity - rows[i, None]).exp_().mul_(of_rows[i, None])
                share += similarity.sub_(columns[j]).exp_().mul_(of_columns[j])
                diagonal, both = _diagonal(share, i, j)
                diagonal += of_own[both]
                if within is not None:
                    share += _copies(within, i, j) * of_total
                share = share.to(q.dtype)
                grad_q[i] += share @ k[j]
                grad_k[j] += share.T @ q[i]
        return grad_q.to(q.dtype), grad_k.to(k.dtype), None, None


def _similarity(q: Tensor, k: Tensor, without: Tensor | None, i: slice, j: slice, dtype: torch.dtype) -> Tensor:
    """Compute a tile of ``q @ k.T``, minus infinity where a column is a copy of the row's own."""
    similarity = (q[i] @ k[j].T).to(dtype)
    if without is not None and j.start < len(without):
        copies = _copies(without, i, j)
        similarity[:, : copies.shape[1]].masked_fill_(copies, -torch.inf)
    return similarity


def _diagonal(tile: Tensor, i: slice, j: slice) -> tuple[Tensor, slice]:
    """Return the part of a tile, as a view, that lies on the matrix's diagonal, and which part of it that is."""
    start, stop = max(i.start, j.start), min(i.stop, j.stop)
    length = max(stop - start, 0)
    return tile[start - i.start :, start - j.start :].diagonal()[:length], slice(start, start + length)


def _copies(ids: Tensor, i: slice, j: slice) -> Tensor:
    """Mark the pairs of a tile that have one id and are not a window with itself; ids below 0 are all different."""
    own = torch.arange(len(ids), device=ids.device)
    return (ids[i, None] == ids[j]) & (own[i, None] != own[j]) & (ids[j] >= 0)


def pair_logsumexp(
    q: Tensor,
    k: Tensor,
    *,
    without: Tensor | None = None,
    within: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return log-sum-exps of the rows and columns of ``q @ k.T``, and its diagonal, in memory linear in N and M.

    Parameters
    ----------
    q : Tensor, shape (N, D), floating
    k : Tensor, shape (M, D), floating
        At least N.
    without : Tensor, shape (N,), integer, optional
        Ids of ``q`` and of the first N of ``k``: pairs i != j with one id, 0 or more, are left out.
    within : Tensor, shape (N,), integer, optional
        Ids whose pairs i != j, of one id that is 0 or more, are summed up; M is N.
    dtype : torch.dtype, optional
        Precision that ``q`` and ``k`` were computed in, where they are given in a higher one. If it is half precision
        and a GPU has kernels that sum its products in single, they are rounded to it.

    Returns
    -------
    rows : Tensor, shape (N,), float32 or float64
    columns : Tensor, shape (M,), float32 or float64
    own : Tensor, shape (N,), float32 or float64
        Similarity of each of ``q`` with its own ``k``, rounded as it is in ``rows`` and ``columns``.
    total : Tensor, scalar, float32 or float64
        Sum of the similarities of pairs ``within``, 0 without them. All four are differentiable once.
    """
    dtype = dtype or q.dtype
    kernels = kernels_for(q.device, dtype, q.shape[1]) if len(q) else None
    if kernels is not None:
        return kernels.pair_normalisers(q, k, without, within, dtype)
    return _PairNormalisers.apply(q, k, without, within)
