"""Contrasts between the views of single windows and of single time steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tscl.functional.eager import with_eager_gradient
from tscl.functional.pairs import connected_zero, twin_contrast
from tscl.functional.tiles import Ring, windows_at_a_time


def check_views(z1: Tensor, z2: Tensor) -> None:
    """Raise ValueError unless both are embeddings ``(B, D, T)`` of one shape."""
    if z1.ndim != 3 or z1.shape != z2.shape:
        raise ValueError(
            f"expected two embeddings of one shape (B, D, T), got {tuple(z1.shape)} and {tuple(z2.shape)}."
        )


class _HalvedSteps(torch.autograd.Function):
    """Max-pool (B, T, D) over time by 2; of two equal steps the first has the gradient, a last odd one is left out."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        first, second = _halves(z)
        ctx.save_for_backward(second > first)
        ctx.shape = z.shape
        return torch.maximum(first, second)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (of_second,) = ctx.saved_tensors
        gradient = grad_outputs[0].new_empty(ctx.shape)
        gradient[:, 2 * of_second.shape[1] :] = 0
        first, second = _halves(gradient)
        torch.mul(grad_outputs[0], of_second, out=second)
        torch.sub(grad_outputs[0], second, out=first)
        return gradient


def _halves(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return every first and every second step of (B, T, D)."""
    return z[:, : z.shape[1] // 2 * 2 : 2], z[:, 1::2]


def _halved(z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
    return _HalvedSteps.apply(z1), _HalvedSteps.apply(z2)


def _by_step(z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
    """Return embeddings as (B, T, D), in which a step lies in one piece: what follows reads vectors."""
    return z1.mT.contiguous(), z2.mT.contiguous()


def _single_scale(loss: Callable[[Tensor, Tensor], Tensor], z1: Tensor, z2: Tensor) -> Tensor:
    return loss(*_by_step(z1, z2))


def _over_scales(loss: Callable[[Tensor, Tensor], Tensor], z1: Tensor, z2: Tensor) -> Tensor:
    """Average a loss over time scales: the series is max-pooled by 2 until one step is left; one step is one scale."""
    z1, z2 = _by_step(z1, z2)
    scales = [loss(z1, z2)]
    while z1.shape[1] > 3:
        z1, z2 = _halved(z1, z2)
        scales.append(loss(z1, z2))
    return torch.stack(scales).mean()


def _observation(z1: Tensor, z2: Tensor) -> Tensor:
    return twin_contrast(z1, z2)


def _sample(ring: Ring | None, z1: Tensor, z2: Tensor) -> Tensor:
    return twin_contrast(z1.transpose(0, 1), z2.transpose(0, 1), ring)


def _mean_of_own(part: Tensor, ring: Ring | None) -> Tensor:
    """Return the mean over the own windows of what they add to the loss of all, from their part of it."""
    return part if ring is None else part / ring.share


def observation_contrast(z1: Tensor, z2: Tensor, multiscale: bool = False) -> Tensor:
    """Contrast the time steps of each window (COMET, eq. 2; the temporal contrast of TS2Vec, eq. 1).

    A time step of one view against all time steps of both views of its window; the same step of the other view is the
    positive. Similarity is the dot product.

    Parameters
    ----------
    z1, z2 : Tensor, shape (B, D, T), floating
        Embeddings per time step of two views.
    multiscale : bool
        Average over time scales, max-pooling by 2 until a single step is left.

    Returns
    -------
    Tensor, scalar
        Exactly 0 when T is 1.

    Raises
    ------
    ValueError
        When the two shapes differ or are not three-dimensional.
    """
    check_views(z1, z2)
    scales = _over_scales if multiscale else _single_scale
    return with_eager_gradient(partial(scales, _observation), z1, z2, windows_at_a_time(z1))


def sample_contrast(z1: Tensor, z2: Tensor, multiscale: bool = False, *, ring: Ring | None = None) -> Tensor:
    """Contrast the windows of a batch at every time step (COMET, eq. 3; the instance contrast of TS2Vec, eq. 2).

    Parameters
    ----------
    z1, z2 : Tensor, shape (B, D, T), floating
        Embeddings per time step of two views.
    multiscale : bool
        Average over time scales, max-pooling by 2 until a single step is left; embeddings of a single step, as pooled
        encoders give them, are contrasted as they are.
    ring : Ring, optional
        Further windows are on other processes. The result is then the mean over the own windows of what they add to the
        loss of all, and all processes have to call it.

    Returns
    -------
    Tensor, scalar
        Exactly 0 when the batch holds one window.

    Raises
    ------
    ValueError
        When the two shapes differ or are not three-dimensional.
    """
    check_views(z1, z2)
    scales = _over_scales if multiscale else _single_scale
    return _mean_of_own(with_eager_gradient(partial(scales, partial(_sample, ring)), z1, z2), ring)


def hierarchical_contrast(
    z1: Tensor, z2: Tensor, alpha: float = 0.5, temporal_unit: int = 0, *, ring: Ring | None = None
) -> Tensor:
    """Compute TS2Vec's hierarchical loss (Yue et al., AAAI 2022, algorithm 1).

    Parameters
    ----------
    z1, z2 : Tensor, shape (B, D, T), floating
        Embeddings per time step of two views.
    alpha : float
        Weight of the contrast between windows; the contrast between time steps has ``1 - alpha``.
    temporal_unit : int
        The contrast between time steps is left out of the first ``temporal_unit`` scales.
    ring : Ring, optional
        Further windows are on other processes. The result is then the mean over the own windows of what they add to the
        loss of all, and all processes have to call it.

    Returns
    -------
    Tensor, scalar

    Raises
    ------
    ValueError
        When the two shapes differ or are not three-dimensional.
    """
    check_views(z1, z2)
    return _mean_of_own(with_eager_gradient(partial(_hierarchical, alpha, temporal_unit, ring), z1, z2), ring)


def _hierarchical(alpha: float, temporal_unit: int, ring: Ring | None, z1: Tensor, z2: Tensor) -> Tensor:
    of_steps = (1 - alpha) * (1 if ring is None else ring.share)
    z1, z2 = _by_step(z1, z2)
    terms, scales = [], 0
    while True:
        if alpha != 0:
            terms.append(alpha * _sample(ring, z1, z2))
        if z1.shape[1] > 1 and alpha != 1 and scales >= temporal_unit:
            terms.append(of_steps * _observation(z1, z2))
        scales += 1
        if z1.shape[1] <= 1:
            return torch.stack(terms).sum() / scales if terms else connected_zero(z1, z2)
        z1, z2 = _halved(z1, z2)
