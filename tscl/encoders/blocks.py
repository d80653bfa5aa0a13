"""GELU-activated dilated convolutions that keep the length, and the residual block made of two of them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _image(x: Tensor) -> Tensor:
    """Return (B, C, T) as (B, C, 1, T); where a CPU trains with the channels of a step in one piece.

    That is the order in which oneDNN convolves. A one-dimensional convolution would be handed over in the other order,
    and take longer for reordering. Without gradients the order stays, in which a window's embedding does not depend on
    the windows beside it, not even by a rounding error.
    """
    image = x[:, :, None]
    if x.device.type == "cpu" and torch.is_grad_enabled():
        return image.contiguous(memory_format=torch.channels_last)
    return image


def conv(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int = 0, dilation: int = 1) -> Tensor:
    """Convolve (B, C, T) with (D, C, K), in the order of memory that the device likes; the result keeps that order."""
    return F.conv2d(_image(x), weight[:, :, None], bias, padding=(0, padding), dilation=(1, dilation)).squeeze(2)


def _activation(image: Tensor, left: int) -> Tensor:
    return F.gelu(F.pad(image, (left, 0)) if left else image)


class _GeluConv(torch.autograd.Function):
    """``conv(gelu(x))`` on (B, C, 1, T) that keeps ``x`` alone for the backward pass and recomputes the activation.

    The convolution is computed in the type of its weights.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, left: int, padding: int, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = left, padding, dilation
        activation = _activation(x, left).to(weight.dtype)
        return F.conv2d(activation, weight[:, :, None], bias, padding=(0, padding), dilation=(1, dilation))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        left, padding, dilation = ctx.geometry
        grad_activation, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
            grad_outputs[0],
            _activation(x, left).to(weight.dtype),
            weight[:, :, None],
            [len(weight)],
            [1, 1],
            [0, padding],
            [1, dilation],
            False,
            [0, 0],
            1,
            [True, True, True],
        )
        grad_x = torch.ops.aten.gelu_backward(grad_activation[..., left:].to(x.dtype), x)
        return grad_x, grad_weight.squeeze(2), grad_bias, None, None, None


class DilatedConv(nn.Module):
    """GELU followed by a dilated convolution that keeps the length.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int
        Odd where the convolution is not causal.
    dilation : int
    causal : bool
        Pad on the left only, so that no output sees a later step.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, dilation: int, causal: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size, dilation=dilation)
        self.dilation = dilation
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T) to (B, out_channels, T)."""
        weight, bias = self.conv.weight, self.conv.bias
        size = self.conv.kernel_size[0]
        before = size - 1 if self.causal else size // 2
        # Taps further away than the series is long only ever see padding. An exported graph, which serves series of
        # any length, keeps them.
        reach = before if torch.compiler.is_exporting() else min(before, (x.shape[2] - 1) // self.dilation)
        weight = weight[:, :, before - reach : before + 1 + (0 if self.causal else reach)]
        left, padding = (reach * self.dilation, 0) if self.causal else (0, reach * self.dilation)
        if x.requires_grad and torch.is_grad_enabled():
            if torch.is_autocast_enabled(x.device.type) and weight.dtype == torch.float32:
                # Autocast does not look into the function: its weights have the type that it would have chosen.
                weight, bias = (one.to(torch.get_autocast_dtype(x.device.type)) for one in (weight, bias))
            return _GeluConv.apply(_image(x), weight, bias, left, padding, self.dilation).squeeze(2)
        activation = _activation(_image(x), left).squeeze(2)
        return conv(activation, weight, bias, padding, self.dilation)


class ResidualBlock(nn.Module):
    """Two GELU-activated dilated convolutions beside a shortcut.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, dilation, causal
        See :class:`DilatedConv`.
    project : bool
        Send the shortcut through a convolution of width 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        dilation: int,
        project: bool,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = DilatedConv(in_channels, out_channels, kernel_size, dilation, causal)
        self.conv2 = DilatedConv(out_channels, out_channels, kernel_size, dilation, causal)
        self.projector = nn.Conv1d(in_channels, out_channels, 1) if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, T) to (B, out_channels, T)."""
        out = self.conv2(self.conv1(x))
        # Not in place: what the convolution returns is a view, whose gradient would be copied.
        if isinstance(self.projector, nn.Conv1d):
            x = conv(x, self.projector.weight, self.projector.bias)
        return out + x


def residual_blocks(hidden: int, dim: int, depth: int, kernel_size: int, causal: bool = False) -> nn.Sequential:
    """Return ``depth`` blocks of width ``hidden`` with dilation 2^i and a last one from ``hidden`` to ``dim``."""
    widths = [hidden] * depth + [dim]
    return nn.Sequential(
        *(
            ResidualBlock(hidden, width, kernel_size, 2**i, project=i == depth or width != hidden, causal=causal)
            for i, width in enumerate(widths)
        )
    )


def visible_steps(keep: Tensor, mask: Tensor | None) -> Tensor:
    """Join the steps that hold values, (B, T) bool, with a latent mask: (B, 1 or latent channels, T) bool."""
    visible = keep[:, None]
    if mask is not None:
        visible = visible & (mask if mask.ndim == 3 else mask[:, None])
    return visible
