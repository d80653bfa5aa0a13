"""Layers that bring the sensors of any montage, and the brains of any subject, to one set of channels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

MARGIN = 0.1
"""Room around the unit square, in its sides, so that opposite edges are not neighbours for a periodic function."""


class SpatialAttention(nn.Module):
    """Weighted means of the sensors, by where they sit (Defossez et al. 2023, spatial attention).

    For every virtual channel the weight of a sensor is the softmax over sensors of a function of its position: a
    two-dimensional Fourier series with ``n_frequencies`` squared complex coefficients, which are learned. The weights
    depend on positions alone, so subjects with different sensors share the layer.

    Parameters
    ----------
    out_channels : int
        Number O of virtual channels.
    n_frequencies : int
        Frequencies of the series along each axis.
    dropout : float
        In training, sensors within this distance of a random point (in sides of the unit square, a point a window) are
        left out; 0 leaves none out.
    """

    def __init__(self, out_channels: int, n_frequencies: int = 32, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = dropout
        n_coefficients = 2 * n_frequencies**2
        self.coefficients = nn.Parameter(torch.randn(out_channels, n_coefficients) / math.sqrt(n_coefficients))
        self.register_buffer("frequencies", torch.arange(n_frequencies, dtype=torch.float32), persistent=False)

    def scores(self, positions: Tensor) -> Tensor:
        """Evaluate the Fourier series.

        Parameters
        ----------
        positions : Tensor, shape (L, C, 2), float32
            On the unit square; NaN where unknown.

        Returns
        -------
        Tensor, shape (L, O, C), float32
            -inf where the position is unknown.
        """
        known = positions.isfinite().all(dim=2)
        places = (positions.nan_to_num(0.0, 0.0, 0.0) + MARGIN) / (1 + 2 * MARGIN)
        with torch.autocast(positions.device.type, enabled=False):
            phase = 2 * math.pi * places[..., None].float() * self.frequencies
            angle = (phase[:, :, 0, :, None] + phase[:, :, 1, None, :]).flatten(2)
            waves = torch.cat([angle.cos(), angle.sin()], dim=2)
            scores = torch.einsum("lck,ok->loc", waves, self.coefficients.float())
        return scores.masked_fill(~known[:, None], -torch.inf)

    def weights(self, positions: Tensor, present: Tensor | None = None) -> Tensor:
        """Return the weight of every sensor in every virtual channel.

        Parameters
        ----------
        positions : Tensor, shape (B, C, 2), float32
        present : Tensor, shape (B, C), bool, optional
            False for sensors without a signal.

        Returns
        -------
        Tensor, shape (B, O, C), float32
            Each row sums to 1, or is 0 where no sensor of known position has a signal.
        """
        layouts, which = positions.nan_to_num(-1.0).unique(dim=0, return_inverse=True)
        scores = self.scores(layouts.masked_fill(layouts < 0, torch.nan))[which]
        usable = scores[:, 0].isfinite()
        if present is not None:
            usable = usable & present
        if self.training and self.dropout > 0:
            point = torch.rand(len(positions), 1, 2, device=positions.device)
            far = (positions.nan_to_num(-1.0) - point).norm(dim=2) > self.dropout
            left = usable & far
            usable = torch.where(left.any(dim=1, keepdim=True), left, usable)
        scores = scores.masked_fill(~usable[:, None], -torch.inf)
        return scores.softmax(dim=2).nan_to_num(0.0)

    def forward(self, x: Tensor, positions: Tensor, present: Tensor | None = None) -> Tensor:
        """Map signals (B, C, T) to virtual channels (B, O, T)."""
        return self.weights(positions, present).to(x.dtype) @ x


class SubjectLayer(nn.Module):
    """A matrix for every subject (Defossez et al. 2023, subject layer).

    All matrices start as the identity. An unseen subject, index -1, goes through their mean.

    Parameters
    ----------
    n_subjects : int
        Number S of subjects.
    channels : int
        Number O of channels.
    """

    def __init__(self, n_subjects: int, channels: int) -> None:
        super().__init__()
        self.matrices = nn.Parameter(torch.eye(channels).repeat(n_subjects, 1, 1))

    def forward(self, x: Tensor, subject: Tensor) -> Tensor:
        """Map (B, O, T) to (B, O, T) by the matrix of each window's subject (B,), int64, -1 for an unseen one."""
        with_mean = torch.cat([self.matrices, self.matrices.mean(dim=0, keepdim=True)])
        return with_mean[subject].to(x.dtype) @ x

    def add_subject(self) -> int:
        """Add a matrix that starts at the mean of the others, and return its index."""
        matrices = self.matrices.data
        self.matrices = nn.Parameter(torch.cat([matrices, matrices.mean(dim=0, keepdim=True)]))
        return len(matrices)
