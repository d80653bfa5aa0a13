"""Losses on single windows and time steps."""

from __future__ import annotations

from torch import Tensor, nn

from tscl.functional import hierarchical_contrast, observation_contrast, sample_contrast
from tscl.functional.tiles import Ring


class ObservationLoss(nn.Module):
    """Contrast of time steps within a window; see :func:`tscl.functional.observation_contrast`.

    Parameters
    ----------
    multiscale : bool
        Average over time scales.
    """

    def __init__(self, multiscale: bool = True) -> None:
        super().__init__()
        self.multiscale = multiscale

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Score two views, each of shape (B, D, T)."""
        return observation_contrast(z1, z2, self.multiscale)


class SampleLoss(nn.Module):
    """Contrast of windows within a batch; see :func:`tscl.functional.sample_contrast`.

    Parameters
    ----------
    multiscale : bool
        Average over time scales.
    """

    def __init__(self, multiscale: bool = True) -> None:
        super().__init__()
        self.multiscale = multiscale

    def forward(self, z1: Tensor, z2: Tensor, ring: Ring | None = None) -> Tensor:
        """Score two views, each of shape (B, D, T)."""
        return sample_contrast(z1, z2, self.multiscale, ring=ring)


class HierarchicalLoss(nn.Module):
    """The loss of TS2Vec; see :func:`tscl.functional.hierarchical_contrast`.

    Parameters
    ----------
    alpha : float
        Weight of the contrast between windows, against ``1 - alpha`` between time steps.
    temporal_unit : int
        Number of the finest scales without the contrast between time steps.
    """

    def __init__(self, alpha: float = 0.5, temporal_unit: int = 0) -> None:
        super().__init__()
        self.alpha = alpha
        self.temporal_unit = temporal_unit

    def forward(self, z1: Tensor, z2: Tensor, ring: Ring | None = None) -> Tensor:
        """Score two views, each of shape (B, D, T)."""
        return hierarchical_contrast(z1, z2, self.alpha, self.temporal_unit, ring=ring)
