"""The engine under the instance-wise contrasts: twins against everything else in their group."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

TILE_ELEMENTS = 1 << 20
"""Similarities held at a time: a tile that stays in the processor's cache."""


class _TwinContrast(torch.autograd.Function):
    """Value and gradient in one sweep over groups of similarity matrices.

    The gradient of the loss with respect to ``z`` is ``(P + P^T) z`` minus the twins, ``P`` being the row-wise softmax.
    Computing it beside the value needs two matrix products instead of autograd's three, and keeps one tensor of the
    size of ``z`` instead of several of the size of the similarity matrices.
    """

    @staticmethod
    def forward(ctx: Any, z1: Tensor, z2: Tensor) -> Tensor:
        with torch.autocast(z1.device.type, enabled=False):
            return _TwinContrast._sweep(ctx, z1, z2)

    @staticmethod
    def _sweep(ctx: Any, z1: Tensor, z2: Tensor) -> Tensor:
        groups, n, _ = z1.shape
        z = torch.cat([z1, z2], dim=1)
        need_grad = any(ctx.needs_input_grad)
        gradient = torch.empty_like(z) if need_grad else None
        total = torch.zeros((), device=z.device, dtype=torch.promote_types(z.dtype, torch.float32))
        step = max(1, TILE_ELEMENTS // (4 * n * n))
        for start in range(0, groups, step):
            tile = z[start : start + step]
            similarity = torch.bmm(tile, tile.mT).to(total.dtype)
            similarity.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
            softmax = torch.softmax(similarity, dim=2)
            # The log-sum-exp from the largest similarity and its softmax, which cannot underflow.
            total += (similarity.amax(dim=2) - softmax.amax(dim=2).log()).sum()
            if gradient is not None:
                softmax = softmax.to(z.dtype)
                torch.bmm(softmax + softmax.mT, tile, out=gradient[start : start + step])
        total -= 2 * (z1 * z2).sum(dtype=total.dtype)
        scale = 1.0 / (groups * 2 * n)
        if gradient is not None:
            gradient[:, :n] -= 2 * z2
            gradient[:, n:] -= 2 * z1
            ctx.save_for_backward(gradient.mul_(scale))
        return (total * scale).to(z.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,) = ctx.saved_tensors
        grad1, grad2 = (gradient * grad_outputs[0]).chunk(2, dim=1)
        return grad1, grad2


def at_least_single(z: Tensor) -> Tensor:
    """Return a tensor of half precision in single precision, any other as it is."""
    return z.to(torch.promote_types(z.dtype, torch.float32))


def check_pooled(h1: Tensor, h2: Tensor) -> None:
    """Raise ValueError when two pooled views are not of one shape (B, D)."""
    if h1.ndim != 2 or h1.shape != h2.shape:
        raise ValueError(f"expected two embeddings of one shape (B, D), got {tuple(h1.shape)} and {tuple(h2.shape)}.")


def connected_zero(z1: Tensor, z2: Tensor) -> Tensor:
    """Return an exact 0 that both tensors get a zero gradient from."""
    return z1.flatten()[:0].sum() + z2.flatten()[:0].sum()


def twin_contrast(z1: Tensor, z2: Tensor) -> Tensor:
    r"""Cross-entropy of finding each vector's twin among all other vectors of its group.

    For every group, the 2N vectors of both views are compared by dot product; a vector's positive is the same vector in
    the other view, every other vector of the group is a negative, and a vector is not compared with itself.

    Parameters
    ----------
    z1, z2 : Tensor, shape (G, N, D), floating
        Two views of N vectors in each of G independent groups.

    Returns
    -------
    Tensor, scalar
        Mean over groups and vectors; exactly 0 when N is 1 or there is no group.
    """
    if z1.shape[0] == 0 or z1.shape[1] <= 1:
        return connected_zero(z1, z2)
    return _TwinContrast.apply(z1, z2)
