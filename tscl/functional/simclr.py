"""The contrast of SimCLR, on one vector a window."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tscl.functional.pairs import check_pooled, twin_contrast
from tscl.functional.tiles import Ring


def nt_xent(h1: Tensor, h2: Tensor, temperature: float = 0.5, *, ring: Ring | None = None) -> Tensor:
    """Compute the normalised temperature-scaled cross-entropy (Chen et al., SimCLR, ICML 2020, eq. 1).

    Parameters
    ----------
    h1, h2 : Tensor, shape (B, D), floating
        One embedding a window, from two views.
    temperature : float
        Divides the cosine similarity.
    ring : Ring, optional
        Further windows are on other processes. The result is then the mean over the own windows of what they add to the
        loss of all, and all processes have to call it.

    Returns
    -------
    Tensor, scalar
        Exactly 0 when the batch holds one window.

    Raises
    ------
    ValueError
        When the two shapes differ or are not two-dimensional.
    """
    check_pooled(h1, h2)
    scale = temperature**-0.5
    h1, h2 = (F.normalize(h, dim=1) * scale for h in (h1, h2))
    if ring is None:
        return twin_contrast(h1[None], h2[None])
    # Row i of one view meets itself, which is left out, in the column that has its window's other view on the diagonal.
    window = torch.arange(ring.own.start, ring.own.stop, device=h1.device).repeat(2)
    rows, _, twins, _ = ring.pair_logsumexp(torch.cat([h1, h2]), torch.cat([h2, h1]), without=window)
    return (rows - twins).mean()
