"""The losses of AutoTCL."""

from __future__ import annotations

from torch import Tensor, nn

from tscl.functional import global_info_nce, local_info_nce
from tscl.functional.tiles import Ring


class GlobalInfoNCE(nn.Module):
    """Contrast of pooled windows; see :func:`tscl.functional.global_info_nce`.

    Parameters
    ----------
    temperature : float
        Divides the cosine similarity.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, h1: Tensor, h2: Tensor, ring: Ring | None = None) -> Tensor:
        """Score two views, each of shape (B, D)."""
        return global_info_nce(h1, h2, self.temperature, ring=ring)


class LocalInfoNCE(nn.Module):
    """Contrast of the stretches of a window; see :func:`tscl.functional.local_info_nce`.

    Parameters
    ----------
    segments : int
        Number of stretches.
    temperature : float
        Divides the cosine similarity.
    """

    def __init__(self, segments: int = 16, temperature: float = 1.0) -> None:
        super().__init__()
        self.segments = segments
        self.temperature = temperature

    def forward(self, z: Tensor) -> Tensor:
        """Score the embeddings (B, D, T) of one view."""
        return local_info_nce(z, self.segments, self.temperature)
