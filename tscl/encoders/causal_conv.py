"""The causal encoder of CoST and AutoTCL: dilated causal convolutions and a trend averaged over kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tscl.encoders.base import Encoder, split_missing
from tscl.encoders.blocks import DilatedConv, conv, residual_blocks, run_blocks, visible_steps
from tscl.encoders.long_conv import causal_conv
from tscl.errors import ConfigError
from tscl.types import Sensors


class CausalConvEncoder(Encoder):
    """Dilated causal convolutions, then causal convolutions of several widths averaged (Woo et al., CoST, ICLR 2022).

    A linear stem per time step, the latent mask, ``depth`` residual blocks with dilation 2^i and one more to ``dim``,
    as in :class:`DilatedConvEncoder` but padded on the left only; then the "trend" of CoST, which AutoTCL (Zheng et
    al., ICLR 2024) takes over: a convolution per entry of ``trend_kernels``, averaged. They are computed as the one
    convolution that they add up to. No later step changes an output, not even by a rounding error.

    A NaN hides its whole time step; a channel counts as absent (zeros) until its first value.

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
        Width of the dilated convolutions, in steps.
    trend_kernels : sequence of int
        Widths of the averaged convolutions, in steps.
    dropout : float
        Probability of the dropout on the output.

    Raises
    ------
    ConfigError
        When a width is not a positive number of steps, or there is no trend kernel.

    Examples
    --------
    >>> import torch
    >>> from tscl.encoders import CausalConvEncoder
    >>> encoder = CausalConvEncoder(in_channels=8, dim=32, hidden=8, depth=3)
    >>> encoder(torch.randn(4, 8, 257)).shape, encoder.receptive_field
    (torch.Size([4, 32, 257]), 188)
    """

    causal = True

    def __init__(
        self,
        in_channels: int,
        dim: int = 320,
        hidden: int = 64,
        depth: int = 10,
        kernel_size: int = 3,
        trend_kernels: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128),
        dropout: float = 0.1,
    ) -> None:
        super().__init__(dim, dropout)
        if not trend_kernels or min(*trend_kernels, kernel_size) < 1:
            raise ConfigError(
                f"kernel_size is {kernel_size} and trend_kernels {tuple(trend_kernels)}: give widths of 1 step or more."
            )
        self._config: dict[str, Any] = {
            "in_channels": in_channels,
            "dim": dim,
            "hidden": hidden,
            "depth": depth,
            "kernel_size": kernel_size,
            "trend_kernels": list(trend_kernels),
            "dropout": dropout,
        }
        self.stem = nn.Conv1d(in_channels, hidden, 1)
        self.blocks = residual_blocks(hidden, dim, depth, kernel_size, causal=True)
        self.trend = nn.ModuleList(nn.Conv1d(dim, dim, size) for size in sorted(trend_kernels))

    def config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return dict(self._config)

    @property
    def receptive_field(self) -> int:
        """Number of steps, its own included, on which one output depends."""
        dilations = 2 ** (self._config["depth"] + 1) - 1
        return 2 * (self._config["kernel_size"] - 1) * dilations + max(self._config["trend_kernels"])

    def features(self, x: Tensor, mask: Tensor | None = None, sensors: Sensors | None = None) -> Tensor:
        """Embed without the last dropout; see :meth:`Encoder.forward`."""
        h = run_blocks(self.blocks, self._latent(x, mask))
        return self._averaged(causal_conv(h, self._total_kernel()))

    def features_last_hidden(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Embed every step as if the latent of that step, and of no other, were hidden.

        Row t is what :meth:`features` gives at t when ``mask`` is False at t as well. Of each convolution only the tap
        of lag 0 sees the hidden step, so that all T cases cost one pass and a convolution of width 1 beside each layer.

        Parameters
        ----------
        x : Tensor, shape (B, C, T), float32
        mask : Tensor or None
            As in :meth:`Encoder.forward`.

        Returns
        -------
        Tensor, shape (B, D, T)
        """
        h = self._latent(x, mask)
        hidden = torch.zeros_like(h)
        for block in self.blocks:
            middle, middle_hidden = _conv_with_hidden(block.conv1, h, hidden)
            out, out_hidden = _conv_with_hidden(block.conv2, middle, middle_hidden)
            h, hidden = out + block.projector(h), out_hidden + block.projector(hidden)
        weight = self._total_kernel()
        return self._averaged(causal_conv(h, weight) + F.conv1d(hidden - h, weight[:, :, -1:]))

    def _latent(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if x.ndim != 3 or x.shape[1] != self.stem.in_channels:
            raise ConfigError(
                f"the encoder was built for {self.stem.in_channels} channels and takes (B, C, T), got {tuple(x.shape)}."
            )
        x, keep = split_missing(x, causal=True)
        return conv(x, self.stem.weight, self.stem.bias) * visible_steps(keep, mask)

    def _averaged(self, total: Tensor) -> Tensor:
        """Divide the sum of the trend's convolutions by their number, and add the mean of their biases."""
        return total / len(self.trend) + torch.stack([conv.bias for conv in self.trend]).mean(0)[:, None]

    def _total_kernel(self) -> Tensor:
        """Return the sum of the trend's kernels, aligned at lag 0: (D, D, widest)."""
        sizes = [conv.kernel_size[0] for conv in self.trend]
        # Between two kernel sizes lies a section of lags, which the wider kernels share. Sections are cut and added
        # once, instead of padding every kernel to the widest.
        lengths = [b - a for a, b in pairwise([0, *sizes])]
        pieces = [conv.weight.split(lengths[i::-1], dim=2)[::-1] for i, conv in enumerate(self.trend)]
        sections = [reduce(torch.add, [piece[i] for piece in pieces[i:]]) for i in range(len(sizes))]
        return torch.cat(sections[::-1], dim=2)


def _conv_with_hidden(layer: DilatedConv, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Return the convolution of ``x``, and the same with each output's own step of ``x`` replaced by ``hidden``'s."""
    out = layer(x)
    return out, out + conv(F.gelu(hidden) - F.gelu(x), layer.conv.weight[:, :, -1:], None)
