"""The dilated convolutional encoder of TS2Vec and COMET."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from tscl.encoders.base import Encoder, split_missing
from tscl.encoders.blocks import conv, residual_blocks, run_blocks, visible_steps
from tscl.types import Sensors


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
        self.blocks = residual_blocks(hidden, dim, depth, kernel_size)

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
        return run_blocks(self.blocks, conv(x, self.stem.weight, self.stem.bias) * visible_steps(keep, mask))
