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
