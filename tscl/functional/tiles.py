"""Normalisers of softmaxes over all pairs, in tiles: the matrix of all similarities never exists."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 25}
"""Numbers of a tensor worked on at a time by type of device: on a CPU one that stays near its cache.

The memory of such a tensor is used again; that of a larger one goes back to the system, which clears it for the next.
"""


SMALLEST = 1e-30
"""Weights of a softmax below this are 0."""


def tile_elements(device: torch.device) -> int:
    """Return how many numbers are worked on at a time on a device."""
    return TILE_ELEMENTS.get(device.type, TILE_ELEMENTS["cuda"])


def windows_at_a_time(z: Tensor) -> int:
    """Return how many windows of (B, D, T) are worked on at a time, where they are worked on by themselves."""
    return max(1, tile_elements(z.device) // max(1, z[0].numel() if len(z) else 1))


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


def tile_spans(n: int, m: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
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


def add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add ``a @ b`` to ``total``, in place, summed in its precision where it has that of the factors."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b


def without_subnormals(weights: Tensor) -> Tensor:
    """Set weights, in place, that are too small to count to 0: a CPU takes long to multiply subnormal numbers."""
    if weights.device.type == "cpu":
        torch.ops.aten.hardshrink.out(weights, SMALLEST, out=weights)
    return weights


PairedIds = tuple[Tensor, Tensor]
"""Ids of rows, and ids of columns."""


class PairBlock(NamedTuple):
    """Some rows and columns of the matrix of all pairs, swept in tiles.

    Attributes
    ----------
    q : Tensor, shape (N, D), floating
    k : Tensor, shape (M, D), floating
    without, within : (Tensor, Tensor) or None, shapes (N,) and (M,), integer
        Ids of rows and columns: pairs that are left out, and pairs that are summed up.
    home : bool
        Whether row i and column i are one window.
    """

    q: Tensor
    k: Tensor
    without: PairedIds | None
    within: PairedIds | None
    home: bool = True

    def add_normalisers(self, rows: Tensor, columns: Tensor, own: Tensor, total: Tensor) -> None:
        """Add the pairs, in place, to log-sum-exps and to the sum; at home write the diagonal into ``own``."""
        with torch.autocast(self.q.device.type, enabled=False):
            for i, j, similarity in self._similarities(rows.dtype):
                add_exp(rows[i], similarity.logsumexp(dim=1))
                add_exp(columns[j], similarity.logsumexp(dim=0))
                if self.home:
                    diagonal, both = _diagonal(similarity, i, j)
                    own[both] = diagonal
                if self.within is not None:
                    total += similarity.masked_fill_(~self._copies(self.within, i, j), 0.0).sum()

    def add_gradients(
        self,
        normalisers: tuple[Tensor, Tensor],
        grad_outputs: tuple[Tensor, Tensor, Tensor, Tensor],
        grad_q: Tensor,
        grad_k: Tensor,
    ) -> None:
        """Add the gradient, in place, given complete log-sum-exps and the gradients of all four results."""
        rows, columns = normalisers
        of_rows, of_columns, of_own, of_total = grad_outputs
        with torch.autocast(self.q.device.type, enabled=False):
            for i, j, similarity in self._similarities(rows.dtype):
                share = (similarity - rows[i, None]).exp_().mul_(of_rows[i, None])
                share += similarity.sub_(columns[j]).exp_().mul_(of_columns[j])
                if self.home:
                    diagonal, both = _diagonal(share, i, j)
                    diagonal += of_own[both]
                if self.within is not None:
                    share += self._copies(self.within, i, j) * of_total
                share = without_subnormals(share).to(self.q.dtype)
                add_product(grad_q[i], share, self.k[j])
                add_product(grad_k[j], share.T, self.q[i])

    def _similarities(self, dtype: torch.dtype) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield the tiles of ``q @ k.T``, minus infinity where a column is a copy of the row's own."""
        for i, j in tile_spans(len(self.q), len(self.k), self.q.device):
            similarity = (self.q[i] @ self.k[j].T).to(dtype)
            if self.without is not None:
                similarity.masked_fill_(self._copies(self.without, i, j), -torch.inf)
            yield i, j, similarity

    def _copies(self, ids: PairedIds, i: slice, j: slice) -> Tensor:
        """Mark the pairs of a tile that have one id and are not a window with itself; ids below 0 are all different."""
        rows, columns = ids[0][i], ids[1][j]
        same = (rows[:, None] == columns) & (columns >= 0)
        if self.home:
            _diagonal(same, i, j)[0].fill_(False)
        return same


class _PairNormalisers(torch.autograd.Function):
    """Log-sum-exps over rows and columns, diagonal, sum of pairs; the backward pass computes the tiles once more."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, without: Tensor | None, within: Tensor | None) -> tuple[Tensor, ...]:
        rows = q.new_full((len(q),), -torch.inf, dtype=torch.promote_types(q.dtype, torch.float32))
        columns, own, total = rows.new_full((len(k),), -torch.inf), torch.empty_like(rows), rows.new_zeros(())
        _whole(q, k, without, within).add_normalisers(rows, columns, own, total)
        ctx.save_for_backward(q, k, without, within, rows, columns)
        return rows, columns, own, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        q, k, without, within, rows, columns = ctx.saved_tensors
        grad_q, grad_k = torch.zeros_like(q, dtype=rows.dtype), torch.zeros_like(k, dtype=rows.dtype)
        _whole(q, k, without, within).add_gradients((rows, columns), grad_outputs, grad_q, grad_k)
        return grad_q.to(q.dtype), grad_k.to(k.dtype), None, None


def _whole(q: Tensor, k: Tensor, without: Tensor | None, within: Tensor | None) -> PairBlock:
    """Return the block of all pairs."""
    left_out, summed = (None if ids is None else (ids, column_ids(ids, len(k))) for ids in (without, within))
    return PairBlock(q, k, left_out, summed)


def column_ids(ids: Tensor, length: int) -> Tensor:
    """Return the ids of ``length`` columns, of which the first ones are those of the rows and the rest have none."""
    return F.pad(ids, (0, length - len(ids)), value=-1)


def _diagonal(tile: Tensor, i: slice, j: slice) -> tuple[Tensor, slice]:
    """Return the part of a tile, as a view, that lies on the matrix's diagonal, and which part of it that is."""
    start, stop = max(i.start, j.start), min(i.stop, j.stop)
    length = max(stop - start, 0)
    return tile[start - i.start :, start - j.start :].diagonal()[:length], slice(start, start + length)


Judge = Callable[..., Tensor]
"""Of some rows and what belongs to them, some columns and their labels, to a sum over pairs."""


class Ring(Protocol):
    """A batch that lies on several processes, as a loss sees it from one of them: ``tscl.distributed.JoinedBatch``."""

    @property
    def own(self) -> slice:
        """The place of this process's windows among all."""

    @property
    def share(self) -> float:
        """How much of all windows this process has."""

    def tensor(self, one: Tensor) -> Tensor:
        """Join a tensor (B, ...) over all processes."""

    def pair_logsumexp(
        self, q: Tensor, k: Tensor, *, without: Tensor | None = None, within: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Do what :func:`pair_logsumexp` does, for the rows and columns of this process among those of all."""

    def twin_contrast(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return what the vectors of this process add to :func:`tscl.functional.twin_contrast` of those of all."""

    def pair_sum(self, judge: Judge, mine: tuple[Tensor, ...], k: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of ``judge(*mine, k, labels)`` over the columns ``k`` of all processes and their labels."""


def pair_logsumexp(
    q: Tensor,
    k: Tensor,
    *,
    without: Tensor | None = None,
    within: Tensor | None = None,
    dtype: torch.dtype | None = None,
    ring: Ring | None = None,
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
    ring : Ring, optional
        Further rows and columns are on other processes: log-sum-exps and sums go over those of all, the results are of
        the rows and columns of this one, and the gradient is that of the sum of the losses of all processes.

    Returns
    -------
    rows : Tensor, shape (N,), float32 or float64
    columns : Tensor, shape (M,), float32 or float64
    own : Tensor, shape (N,), float32 or float64
        Similarity of each of ``q`` with its own ``k``, rounded as it is in ``rows`` and ``columns``.
    total : Tensor, scalar, float32 or float64
        Sum of the similarities of pairs ``within``, 0 without them. All four are differentiable once.
    """
    if ring is not None:
        return ring.pair_logsumexp(q, k, without=without, within=within)
    dtype = dtype or q.dtype
    kernels = kernels_for(q.device, dtype, q.shape[1]) if len(q) else None
    if kernels is not None:
        return kernels.pair_normalisers(q, k, without, within, dtype)
    return _PairNormalisers.apply(q, k, without, within)
