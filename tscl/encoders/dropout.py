"""Dropout of large outputs on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tscl.functional.tiles import spans, tile_elements

LEVELS = 1 << 16


class ShortDropout(nn.Dropout):
    """Dropout that draws 16 bits an element on a CPU, and keeps a byte an element for the backward pass.

    torch draws 64 bits, which takes four times as long, and keeps a float. The probability is rounded to a multiple of
    2^-16, and what is kept is scaled by the rounded one.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop elements of a tensor of any shape while training."""
        if not self.training or not 0 < self.p < 1 or input.device.type != "cpu":
            return super().forward(input)
        level = min(max(round((1 - self.p) * LEVELS), 1), LEVELS - 1)
        return _Dropped.apply(input, level)


class _Dropped(torch.autograd.Function):
    """Some elements at a time, in the order of memory, so that nothing but the result and the bytes is large."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, level: int) -> Tensor:
        out = torch.empty_like(x)
        flat, result = _flat(x, out.stride()), _flat(out, out.stride())
        keep = torch.empty(x.numel(), dtype=torch.bool)
        for part in spans(x.numel(), tile_elements(x.device)):
            bits = torch.empty(-(-(part.stop - part.start) // 4), dtype=torch.int64)
            bits.random_(torch.iinfo(torch.int64).min, None)
            torch.lt(bits.view(torch.int16)[: part.stop - part.start], level - LEVELS // 2, out=keep[part])
            _keep(flat[part], keep[part], LEVELS / level, result[part])
        ctx.save_for_backward(keep)
        ctx.scale, ctx.order = LEVELS / level, out.stride()
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        gradient = torch.empty_strided(grad_outputs[0].shape, ctx.order, dtype=grad_outputs[0].dtype)
        flat, result = _flat(grad_outputs[0], ctx.order), _flat(gradient, ctx.order)
        for part in spans(len(keep), tile_elements(gradient.device)):
            _keep(flat[part], keep[part], ctx.scale, result[part])
        return gradient, None


def _flat(x: Tensor, order: tuple[int, ...]) -> Tensor:
    """Return a tensor as a vector in an order of memory, copied where it has another."""
    if x.stride() != order:
        x = torch.empty_strided(x.shape, order, dtype=x.dtype).copy_(x)
    return x.as_strided((x.numel(),), (1,))


def _keep(x: Tensor, keep: Tensor, scale: float, out: Tensor) -> None:
    torch.mul(x, keep.to(x.dtype), out=out).mul_(scale)
