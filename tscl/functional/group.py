"""Contrast at the levels that have ids: trial, session, patient, site, ..."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tscl.functional.eager import with_eager_gradient
from tscl.functional.instance import check_views
from tscl.functional.tiles import Ring, pair_logsumexp, windows_at_a_time


class _UnitSequence(torch.autograd.Function):
    """Scale every dimension to unit norm over time, then the whole window to unit norm, and multiply by a factor.

    After the first step the second is a constant, the root of the number of dimensions that are not zero throughout,
    so the gradient needs one projection only. Dimensions that are zero throughout stay zero and get no gradient.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, factor: float) -> Tensor:
        single = torch.promote_types(z.dtype, torch.float32)
        unit = torch.empty_like(z)
        scales, counts = [], []
        for part, place in _parts(z, unit):
            norm = torch.linalg.vector_norm(part, dim=2, keepdim=True, dtype=single)
            visible = norm > torch.finfo(z.dtype).tiny
            count = visible.sum(dim=1, keepdim=True).clamp(min=1).to(single)
            scales.append(torch.where(visible, factor / (norm * count.sqrt()), 0.0).to(z.dtype))
            counts.append(count / factor**2)
            torch.mul(part, scales[-1], out=place)
        ctx.save_for_backward(unit, torch.cat(scales), torch.cat(counts))
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        unit, scales, counts = ctx.saved_tensors
        gradient = torch.empty_like(unit)
        for part, of_unit, place, scale, count in _parts(unit, *grad_outputs, gradient, scales, counts):
            along = (part * of_unit).sum(dim=2, keepdim=True, dtype=counts.dtype) * count
            torch.addcmul(of_unit, part, along.to(unit.dtype), value=-1, out=place).mul_(scale)
        return gradient, None


def _parts(z: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cut tensors over windows into parts that are worked on at a time."""
    size = windows_at_a_time(z)
    return zip(*(one.split(size) for one in (z, *others)), strict=True)


def group_contrast(
    z1: Tensor, z2: Tensor, ids: Tensor, temperature: float = 0.1, *, ring: Ring | None = None
) -> Tensor:
    r"""Pull together windows that share an id, across views (COMET, eq. 4 and 5).

    The similarity of window i in view 1 and window j in view 2 is the cosine of their flattened sequences, each
    embedding dimension first scaled to unit norm over time (as the authors' code does), over ``temperature``. Pairs
    i < j with the same id are normalised over all j, pairs i > j over all i, and the two means are averaged. A window
    is not its own positive.

    Parameters
    ----------
    z1, z2 : Tensor, shape (B, D, T), floating
        Embeddings per time step of two views.
    ids : Tensor, shape (B,), integer
        The level's id of every window; a negative id means unknown and has no positives.
    temperature : float
        Divides the cosine.
    ring : Ring, optional
        Further windows are on other processes. The result is then the mean over the own windows of what they add to the
        loss of all, and all processes have to call it.

    Returns
    -------
    Tensor, scalar
        Exactly 0 when no two windows share an id.

    Raises
    ------
    ValueError
        When the shapes differ, or there is not one id a window.
    """
    check_views(z1, z2)
    if ids.shape != (len(z1),):
        raise ValueError(f"expected one id a window, shape ({len(z1)},), got {tuple(ids.shape)}.")
    every, own = (ids, slice(None)) if ring is None else (ring.tensor(ids), ring.own)
    later = torch.where(every >= 0, _later_of_group(every), 0)
    share = with_eager_gradient(partial(_share, ids, later[own], later.sum(), temperature, ring), z1, z2)
    return share * (len(every) / len(ids))


def _share(
    ids: Tensor, later: Tensor, pairs: Tensor, temperature: float, ring: Ring | None, z1: Tensor, z2: Tensor
) -> Tensor:
    """Return what the windows that are given add to the mean over ``pairs``, the number of those of all processes."""
    h1, h2 = (_UnitSequence.apply(z, factor).mT.flatten(1) for z, factor in ((z1, 1 / temperature), (z2, 1.0)))
    rows, columns, _, positives = pair_logsumexp(h1, h2, within=ids, ring=ring)
    loss = (((rows + columns) * later).sum() - positives) / (2 * pairs.clamp(min=1))
    return torch.where(pairs > 0, loss, torch.zeros_like(loss))


def _later_of_group(ids: Tensor) -> Tensor:
    """Count for every window how many with its id come after it in the batch."""
    order = ids.argsort(stable=True)
    ranked = ids[order]
    later = torch.empty_like(order)
    later[order] = torch.searchsorted(ranked, ranked, right=True) - 1 - torch.arange(len(ids), device=ids.device)
    return later
