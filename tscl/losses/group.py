"""Losses on windows that share an id."""

from __future__ import annotations

from torch import Tensor, nn

from tscl.functional import group_contrast
from tscl.functional.tiles import Ring


class GroupLoss(nn.Module):
    """Contrast of windows by id; see :func:`tscl.functional.group_contrast`.

    Parameters
    ----------
    temperature : float
        Divides the cosine similarity.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, z1: Tensor, z2: Tensor, ids: Tensor, ring: Ring | None = None) -> Tensor:
        """Score two views, each of shape (B, D, T), with ids of shape (B,)."""
        return group_contrast(z1, z2, ids, self.temperature, ring=ring)
