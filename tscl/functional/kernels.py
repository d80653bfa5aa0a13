"""Distances between distributions, by kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from tscl.functional.pairs import at_least_single


def mmd(h1: Tensor, h2: Tensor, n_kernels: int = 5, factor: float = 2.0) -> Tensor:
    """Compute the squared maximum mean discrepancy of two samples (Gretton et al., JMLR 2012, eq. 5, biased).

    The kernel is a sum of Gaussians ``exp(-d² / b)``. Their bandwidths b are ``factor`` apart, with the mean squared
    distance of the joint sample in the middle; it counts as a constant in the gradient. AutoTCL uses it for the
    principle of relevant information.

    Parameters
    ----------
    h1, h2 : Tensor, shapes (n, D) and (m, D), floating
        Two samples of embeddings.
    n_kernels : int
        Number of Gaussians.
    factor : float
        Ratio of neighbouring bandwidths.

    Returns
    -------
    Tensor, scalar
        At least 0, up to rounding; 0 for equal samples.

    Raises
    ------
    ValueError
        When the shapes do not fit.
    """
    if h1.ndim != 2 or h2.ndim != 2 or h1.shape[1] != h2.shape[1]:
        raise ValueError(f"expected two samples (n, D) and (m, D), got {tuple(h1.shape)} and {tuple(h2.shape)}.")
    joint = at_least_single(torch.cat([h1, h2]))
    square = joint.square().sum(dim=1)
    distance = (square[:, None] + square - 2 * joint @ joint.T).clamp(min=0)
    distance = distance * (1 - torch.eye(len(joint), device=joint.device, dtype=joint.dtype))
    middle = distance.detach().sum() / max(len(joint) * (len(joint) - 1), 1) + torch.finfo(distance.dtype).tiny
    powers = torch.arange(n_kernels, device=joint.device, dtype=joint.dtype) - n_kernels // 2
    kernel = (-distance[..., None] / (middle * factor**powers)).exp().sum(dim=2)
    n = len(h1)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()
