"""The dilated convolutional encoder of TS2Vec and COMET."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tscl.encoders.base import Encoder, split_missing
from tscl.types import Sensors


class _GeluConv(torch.autograd.Function):
    """``conv1d(gelu(x))`` that keeps ``x`` alone for the backward pass and recomputes the activation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: int, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = padding, dilation
        return F.conv1d(F.gelu(x), weight, bias, padding=padding, dilation=dilation)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        padding, dilation = ctx.geometry
        grad_activation, grad_weight, grad_bias = torch.ops.aten.convolution_backward(
            grad_outputs[0],
            F.gelu(x),
            weight,
            [len(weight)],
            [1],
            [padding],
            [dilation],
            False,
            [0],
            1,
            [True, True, True],
        )
        return torch.ops.aten.gelu_backward(grad_activation, x), grad_weight, grad_bias, None, None


class _SamePadConv(nn.Module):
    """GELU followed by a dilated convolution that keeps the length."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size, dilation=dilation)
        self.dilation = dilation

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.conv.weight, self.conv.bias
        half = self.conv.kernel_size[0] // 2
        reach = min(half, (x.shape[2] - 1) // self.dilation)
        # Taps further away than the series is long only ever see padding.
        weight = weight[:, :, half - reach : half + reach + 1]
        if x.requires_grad and torch.is_grad_enabled() and not torch.is_autocast_enabled(x.device.type):
            return _GeluConv.apply(x, weight, bias, reach * self.dilation, self.dilation)
        return F.conv1d(F.gelu(x), weight, bias, padding=reach * self.dilation, dilation=self.dilation)


class _Block(nn.Module):
    """Two GELU-activated dilated convolutions beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, dilation: int, project: bool) -> None:
        super().__init__()
        self.conv1 = _SamePadConv(in_channels, out_channels, kernel_size, dilation)
        self.conv2 = _SamePadConv(out_channels, out_channels, kernel_size, dilation)
        self.projector = nn.Conv1d(in_channels, out_channels, 1) if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.conv1(x))
        out += self.projector(x)
        return out


class DilatedConvEncoder(Encoder):
    """Dilated residual convolutions (Yue et al., TS2Vec, AAAI 2022; the encoder of COMET as well).

    A linear stem per time step, the latent mask, ``depth`` residual blocks with dilation 2^i, one more block to
    ``dim``, dropout. Each output sees ``2 * (kernel_size - 1) * (2^(depth + 1) - 1) + 1`` input steps, past and future.

    Parameters
    ----------
    in_channels : int
        Number C of input channels.
    dim : int
        Number D of embedding dimensions.
    hidden : int
        Width of the blocks.
    depth : int
        Number of residual blocks before the last one.
    kernel_size : int
        Odd width of the convolutions, in steps.
    dropout : float
        Probability of the dropout on the output.

    Examples
    --------
    >>> import torch
    >>> from tscl.encoders import DilatedConvEncoder
    >>> DilatedConvEncoder(in_channels=16, dim=32, hidden=8, depth=3)(torch.randn(4, 16, 100)).shape
    torch.Size([4, 32, 100])
    """

    def __init__(
        self,
        in_channels: int,
        dim: int = 320,
        hidden: int = 64,
        depth: int = 10,
        kernel_size: int = 3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(dim, dropout)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size is {kernel_size}: use an odd number, so that the length stays the same.")
        self._config = {
            "in_channels": in_channels,
            "dim": dim,
            "hidden": hidden,
            "depth": depth,
            "kernel_size": kernel_size,
            "dropout": dropout,
        }
        self.stem = nn.Conv1d(in_channels, hidden, 1)
        widths = [hidden] * depth + [dim]
        self.blocks = nn.Sequential(
            *(
                _Block(hidden, width, kernel_size, 2**i, project=i == depth or width != hidden)
                for i, width in enumerate(widths)
            )
        )

    def config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return dict(self._config)

    def features(self, x: Tensor, mask: Tensor | None = None, sensors: Sensors | None = None) -> Tensor:
        """Embed without the last dropout; see :meth:`Encoder.forward`."""
        if x.ndim != 3 or x.shape[1] != self.stem.in_channels:
            raise ValueError(
                f"the encoder was built for {self.stem.in_channels} channels and takes (B, C, T), got {tuple(x.shape)}."
            )
        x, keep = split_missing(x)
        visible = keep[:, None]
        if mask is not None:
            visible = visible & (mask if mask.ndim == 3 else mask[:, None])
        return self.blocks(self.stem(x) * visible)
