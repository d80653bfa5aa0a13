"""Windows mixed with other windows of the batch."""

from __future__ import annotations

import torch

from tscl.augmenters.base import Augmenter
from tscl.augmenters.fixed.checks import check_within
from tscl.types import View


class Mixup(Augmenter):
    """Add a little of another window of the batch: lambda x_i + (1 - lambda) x_j (Zhang et al., ICLR 2018).

    Lambda is uniform between ``min_lambda`` and 1 and not Beta-distributed, so that a view never shows more of another
    window than of its own: there are no labels to be mixed along. The partner is any other window of the batch; where
    it is missing, the window stays as it is. A batch of one window is not changed.

    Parameters
    ----------
    min_lambda : float
        Smallest share of the window itself, from 0 to 1.
    """

    def __init__(self, min_lambda: float = 0.8) -> None:
        super().__init__()
        check_within(self, high=1, min_lambda=min_lambda)
        self.min_lambda = min_lambda

    def forward(self, view: View) -> View:
        """Return the mixed view."""
        x, n = view.x, len(view.x)
        own = torch.arange(n, device=x.device)
        partner = x[(own + torch.randint(1, max(n, 2), (n,), device=x.device)) % n]
        other = (1 - self.min_lambda) * torch.rand(n, 1, 1, device=x.device, dtype=x.dtype)
        return view._replace(x=x + other * torch.where(partner.isnan(), 0, partner - x))
