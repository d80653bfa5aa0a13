"""Losses whose gradient is taken at once, so that none of their intermediate tensors outlives the forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _EagerGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Callable[[Tensor, Tensor], Tensor], z1: Tensor, z2: Tensor) -> Tensor:
        with torch.enable_grad():
            first, second = z1.detach().requires_grad_(), z2.detach().requires_grad_()
            value = loss(first, second)
            gradients = torch.autograd.grad(value, (first, second))
            ctx.save_for_backward(*(_ordered_as(z, one) for z, one in zip((first, second), gradients, strict=True)))
        return value.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(gradient * grad_outputs[0] for gradient in ctx.saved_tensors)


def _ordered_as(z: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient in the order of memory of its tensor: what follows reads both."""
    return gradient if gradient.stride() == z.stride() else torch.empty_like(z).copy_(gradient)


def with_eager_gradient(loss: Callable[[Tensor, Tensor], Tensor], z1: Tensor, z2: Tensor) -> Tensor:
    """Compute a scalar loss of two views, and its gradient in the same sweep where one will be asked for.

    A loss over many time scales keeps pooled copies, indices and similarity matrices until the backward pass; taken at
    once, all of it is replaced by two tensors of the views' size.

    Parameters
    ----------
    loss : callable
        Of two tensors, to a scalar; everything that needs a gradient must come in through them.
    z1, z2 : Tensor
        The views.

    Returns
    -------
    Tensor, scalar
        Differentiable once with respect to the views.
    """
    if torch.is_grad_enabled() and (z1.requires_grad or z2.requires_grad):
        return _EagerGradient.apply(loss, z1, z2)
    return loss(z1, z2)
