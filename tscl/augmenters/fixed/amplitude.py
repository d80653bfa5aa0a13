"""Changes of amplitude. NaN stays NaN."""

from __future__ import annotations

import torch

from tscl.augmenters.base import Augmenter
from tscl.types import View


class Jitter(Augmenter):
    """Add white Gaussian noise.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise, in the unit of the signal.
    """

    def __init__(self, sigma: float = 0.1) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, view: View) -> View:
        """Return the noisy view."""
        return view._replace(x=view.x + self.sigma * torch.randn_like(view.x))


class Scaling(Augmenter):
    """Multiply every channel of every window by a random factor around 1.

    Parameters
    ----------
    sigma : float
        Standard deviation of the factor.
    """

    def __init__(self, sigma: float = 0.1) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, view: View) -> View:
        """Return the scaled view."""
        factor = 1 + self.sigma * torch.randn(*view.x.shape[:2], 1, device=view.x.device, dtype=view.x.dtype)
        return view._replace(x=view.x * factor)
