"""The loss of SimCLR."""

from __future__ import annotations

from torch import Tensor, nn

from tscl.functional import nt_xent
from tscl.functional.tiles import Ring


class NTXentLoss(nn.Module):
    """Contrast of pooled windows; see :func:`tscl.functional.nt_xent`.

    Parameters
    ----------
    temperature : float
        Divides the cosine similarity.
    """

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, h1: Tensor, h2: Tensor, ring: Ring | None = None) -> Tensor:
        """Score two views, each of shape (B, D)."""
        return nt_xent(h1, h2, self.temperature, ring=ring)
