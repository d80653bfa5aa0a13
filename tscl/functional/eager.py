"""Losses whose gradient is taken at once, so that none of their intermediate tensors outlives the forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _EagerGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Callable[[Tensor, Tensor], Tensor], size: int, z1: Tensor, z2: Tensor) -> Tensor:
        if size >= len(z1):
            value, *gradients = _with_gradients(loss, z1, z2)
            ctx.save_for_backward(*map(_ordered_as, (z1, z2), gradients))
            return value
        whole = torch.empty_like(z1), torch.empty_like(z2)
        values = []
        for parts in zip(z1.split(size), z2.split(size), *(one.split(size) for one in whole), strict=True):
            share = len(parts[0]) / len(z1)
            value, *gradients = _with_gradients(loss, *parts[:2])
            values.append(value * share)
            for gradient, place in zip(gradients, parts[2:], strict=True):
                torch.mul(gradient, share, out=place)
        ctx.save_for_backward(*whole)
        return torch.stack(values).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(gradient * grad_outputs[0] for gradient in ctx.saved_tensors)


def _with_gradients(loss: Callable[[Tensor, Tensor], Tensor], z1: Tensor, z2: Tensor) -> tuple[Tensor, ...]:
    """Return a loss and its gradients."""
    with torch.enable_grad():
        views = z1.detach().requires_grad_(), z2.detach().requires_grad_()
        value = loss(*views)
        return value.detach(), *torch.autograd.grad(value, views)


def _ordered_as(z: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient in the order of memory of its tensor: what follows reads both."""
    return gradient if gradient.stride() == z.stride() else torch.empty_like(z).copy_(gradient)


def with_eager_gradient(
    loss: Callable[[Tensor, Tensor], Tensor], z1: Tensor, z2: Tensor, size: int | None = None
) -> Tensor:
    """Compute a scalar loss of two views, and its gradient in the same sweep where one will be asked for.

    A loss over many time scales keeps pooled copies, indices and similarity matrices until the backward pass; taken at
    once, all of it is replaced by two tensors of the views' size.

    Parameters
    ----------
    loss : callable
        Of two tensors, to a scalar; everything that needs a gradient must come in through them.
    z1, z2 : Tensor
        The views.
    size : int, optional
        Take so many windows at a time, for a loss that is the mean over single windows.

    Returns
    -------
    Tensor, scalar
        Differentiable once with respect to the views.
    """
    if torch.is_grad_enabled() and (z1.requires_grad or z2.requires_grad):
        return _EagerGradient.apply(loss, size or len(z1), z1, z2)
    return loss(z1, z2)


class _EagerParameterGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Callable[[], Tensor], *parameters: Tensor) -> Tensor:
        with torch.enable_grad():
            value = loss()
        ctx.save_for_backward(*torch.autograd.grad(value, parameters, allow_unused=True))
        return value.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(None if one is None else one * grad_outputs[0] for one in ctx.saved_tensors)


def with_eager_parameter_gradient(loss: Callable[[], Tensor], parameters: Iterable[Tensor]) -> Tensor:
    """Compute a scalar loss and at once its gradient, of which nothing but that of the parameters is kept.

    A sum of such losses takes the memory of the largest of them. The gradient is taken before anything can scale the
    loss, so not in float16, whose small gradients need that.

    Parameters
    ----------
    loss : callable
        Without arguments, to a scalar.
    parameters : iterable of Tensor
        All that gets a gradient.

    Returns
    -------
    Tensor, scalar
        Differentiable once with respect to the parameters.
    """
    wanted = [one for one in dict.fromkeys(parameters) if one.requires_grad]
    return _EagerParameterGradient.apply(loss, *wanted) if torch.is_grad_enabled() and wanted else loss()
