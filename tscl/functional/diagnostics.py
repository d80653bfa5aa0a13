"""How healthy an embedding is: do twins agree, does it fill the sphere, how many directions does it use."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def alignment(h1: Tensor, h2: Tensor) -> Tensor:
    """Mean squared distance of twins on the unit sphere (Wang and Isola, ICML 2020); 0 is perfect.

    Parameters
    ----------
    h1, h2 : Tensor, shape (B, D), floating
        One embedding a window, from two views.
    """
    return (F.normalize(h1, dim=1) - F.normalize(h2, dim=1)).square().sum(dim=1).mean()


def uniformity(h: Tensor, t: float = 2.0) -> Tensor:
    """Log of the mean Gaussian potential of pairs on the unit sphere (Wang and Isola, ICML 2020); lower fills better.

    Parameters
    ----------
    h : Tensor, shape (B, D), floating
        One embedding a window; with fewer than two windows the result is 0.
    t : float
        Sharpness of the potential.
    """
    if len(h) < 2:
        return h.new_zeros(())
    return torch.pdist(F.normalize(h.float(), dim=1)).square().mul(-t).exp().mean().log()


def effective_rank(h: Tensor) -> Tensor:
    """Exponential of the entropy of the centred embedding's singular values (Roy and Vetterli, EUSIPCO 2007).

    Parameters
    ----------
    h : Tensor, shape (B, D), floating
        One embedding a window.

    Returns
    -------
    Tensor, scalar
        Between 1 (collapsed to a line) and ``min(B - 1, D)``.
    """
    singular = torch.linalg.svdvals((h - h.mean(dim=0)).float())
    share = singular / singular.sum().clamp(min=torch.finfo(singular.dtype).tiny)
    return torch.special.entr(share).sum().exp()


def score_quantiles(
    h1: Tensor, h2: Tensor, positive: Tensor, negative: Tensor, q: tuple[float, ...] = (0.05, 0.5, 0.95)
) -> Tensor:
    """Quantiles of the cosine similarity of positive and of negative pairs; nothing is waited for on a GPU.

    Parameters
    ----------
    h1, h2 : Tensor, shape (B, D), floating
        One embedding a window, from two views.
    positive, negative : Tensor, shape (B, B), bool
        Which windows of the first view (rows) and of the second (columns) make such a pair.
    q : tuple of float
        Quantiles, from 0 to 1.

    Returns
    -------
    Tensor, shape (2, len(q)), float32
        Positives, then negatives; NaN where there is no such pair.
    """
    with torch.autocast(h1.device.type, enabled=False):
        scores = F.normalize(h1.float(), dim=1) @ F.normalize(h2.float(), dim=1).T
    kept = torch.stack([scores.masked_fill(~pairs, torch.nan).flatten() for pairs in (positive, negative)])
    return kept.nanquantile(torch.tensor(q, dtype=kept.dtype, device=kept.device), dim=1).T
