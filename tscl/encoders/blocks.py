"""GELU-activated dilated convolutions that keep the length, and the residual block made of two of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tscl.functional.tiles import windows_at_a_time


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


class _Taps(NamedTuple):
    """Where the weights of a convolution lie: steps of padding on the left, on both sides, and between two taps."""

    left: int
    padding: int
    dilation: int


def _padded(x: Tensor, taps: _Taps) -> Tensor:
    return F.pad(x, (taps.left, 0)) if taps.left else x


def _activation(x: Tensor, taps: _Taps) -> Tensor:
    """Pad (B, C, 1, T) and apply GELU, read in the order of training: torch takes half the time of any other order."""
    return F.gelu(_padded(x, taps).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _gelu_conv(x: Tensor, weight: Tensor, bias: Tensor, taps: _Taps) -> Tensor:
    """Return ``conv(gelu(x))`` of (B, C, 1, T), computed in the type of its weights."""
    activation = _activation(x, taps).to(weight.dtype)
    return F.conv2d(activation, weight[:, :, None], bias, padding=(0, taps.padding), dilation=(1, taps.dilation))


def _conv_gradients(grad: Tensor, x: Tensor, weight: Tensor, taps: _Taps) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of a convolution's input, weights and bias."""
    of_x, of_weight, of_bias = torch.ops.aten.convolution_backward(
        grad,
        x,
        weight[:, :, None],
        [len(weight)],
        [1, 1],
        [0, taps.padding],
        [1, taps.dilation],
        False,
        [0, 0],
        1,
        [True, True, True],
    )
    return of_x, of_weight.squeeze(2), of_bias


def _gelu_conv_gradients(grad: Tensor, x: Tensor, weight: Tensor, taps: _Taps) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of :func:`_gelu_conv`; the activation is computed once more."""
    activation = _activation(x, taps).to(weight.dtype)
    of_activation, of_weight, of_bias = _conv_gradients(grad, activation, weight, taps)
    of_activation = of_activation[..., taps.left :].to(x.dtype).permute(0, 2, 3, 1)
    of_x = torch.ops.aten.gelu_backward(of_activation, x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return of_x, of_weight, of_bias


class _ResidualGeluConvs(torch.autograd.Function):
    """A residual block on (B, C, 1, T) that keeps the inputs of its two layers and no activation."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight1: Tensor,
        bias1: Tensor,
        taps1: _Taps,
        weight2: Tensor,
        bias2: Tensor,
        taps2: _Taps,
        projection: Tensor | None,
        projection_bias: Tensor | None,
    ) -> Tensor:
        middle = _gelu_conv(x, weight1, bias1, taps1)
        out = _gelu_conv(middle, weight2, bias2, taps2)
        out += x if projection is None else F.conv2d(x.to(projection.dtype), projection[:, :, None], projection_bias)
        ctx.save_for_backward(x, middle, weight1, weight2, projection)
        ctx.taps = taps1, taps2
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        [grad] = grad_outputs
        x, middle, weight1, weight2, projection = ctx.saved_tensors
        of_middle, *of_layer2 = _gelu_conv_gradients(grad, middle, weight2, ctx.taps[1])
        of_x, *of_layer1 = _gelu_conv_gradients(of_middle, x, weight1, ctx.taps[0])
        of_projection: list[Tensor | None] = [None, None]
        shortcut = grad
        if projection is not None:
            shortcut, *of_projection = _conv_gradients(grad, x.to(projection.dtype), projection, _Taps(0, 0, 1))
        return of_x + shortcut, *of_layer1, None, *of_layer2, None, *of_projection


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

    def weights(self, length: int) -> tuple[Tensor, Tensor, _Taps]:
        """Return weights, without the taps that only ever see padding in a series of so many steps, bias and taps."""
        size = self.conv.kernel_size[0]
        before = size - 1 if self.causal else size // 2
        # An exported graph, which serves series of any length, keeps all taps.
        reach = before if torch.compiler.is_exporting() else min(before, (length - 1) // self.dilation)
        weight = self.conv.weight[:, :, before - reach : before + 1 + (0 if self.causal else reach)]
        left, padding = (reach * self.dilation, 0) if self.causal else (0, reach * self.dilation)
        assert self.conv.bias is not None
        return weight, self.conv.bias, _Taps(left, padding, self.dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T) to (B, out_channels, T)."""
        weight, bias, taps = self.weights(x.shape[2])
        return conv(F.gelu(_padded(x, taps)), weight, bias, taps.padding, taps.dilation)


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
        projection, projection_bias = getattr(self.projector, "weight", None), getattr(self.projector, "bias", None)
        if not (x.requires_grad and torch.is_grad_enabled()):
            shortcut = x if projection is None else conv(x, projection, projection_bias)
            return self.conv2(self.conv1(x)) + shortcut
        layers = (self.conv1.weights(x.shape[2]), self.conv2.weights(x.shape[2]), (projection, projection_bias))
        flat = [one for layer in layers for one in layer]
        if torch.is_autocast_enabled(x.device.type) and self.conv1.conv.weight.dtype == torch.float32:
            # Autocast does not look into the function: its weights have the type that it would have chosen.
            kind = torch.get_autocast_dtype(x.device.type)
            flat = [one.to(kind) if isinstance(one, Tensor) else one for one in flat]
        return _ResidualGeluConvs.apply(_image(x), *flat).squeeze(2)


def residual_blocks(hidden: int, dim: int, depth: int, kernel_size: int, causal: bool = False) -> nn.Sequential:
    """Return ``depth`` blocks of width ``hidden`` with dilation 2^i and a last one from ``hidden`` to ``dim``."""
    widths = [hidden] * depth + [dim]
    return nn.Sequential(
        *(
            ResidualBlock(hidden, width, kernel_size, 2**i, project=i == depth or width != hidden, causal=causal)
            for i, width in enumerate(widths)
        )
    )


def run_blocks(blocks: nn.Sequential, x: Tensor) -> Tensor:
    """Map (B, hidden, T) to (B, D, T); where a CPU trains, some windows at a time."""
    trained = x.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling()
    if not trained or x.device.type != "cpu" or len(x) <= (size := windows_at_a_time(x)):
        return blocks(x)
    return torch.cat([blocks(part)[:, :, None] for part in x.split(size)]).squeeze(2)


def visible_steps(keep: Tensor, mask: Tensor | None) -> Tensor:
    """Join the steps that hold values, (B, T) bool, with a latent mask: (B, 1 or latent channels, T) bool."""
    visible = keep[:, None]
    if mask is not None:
        visible = visible & (mask if mask.ndim == 3 else mask[:, None])
    return visible
