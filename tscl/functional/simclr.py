"""The contrast of SimCLR, on one vector a window."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from tscl.functional.pairs import check_pooled, twin_contrast


def nt_xent(h1: Tensor, h2: Tensor, temperature: float = 0.5) -> Tensor:
    """Compute the normalised temperature-scaled cross-entropy (Chen et al., SimCLR, ICML 2020, eq. 1).

    Parameters
    ----------
    h1, h2 : Tensor, shape (B, D), floating
        One embedding a window, from two views.
    temperature : float
        Divides the cosine similarity.

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
    return twin_contrast(F.normalize(h1, dim=1)[None] * scale, F.normalize(h2, dim=1)[None] * scale)
