"""From one embedding a time step to one embedding a window."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Pooling = Literal["max", "mean", "mean+std", "max+mean+std"]


def pool_time(z: Tensor, pooling: Pooling = "max", keep: Tensor | None = None) -> Tensor:
    """Pool embeddings over time.

    Parameters
    ----------
    z : Tensor, shape (B, D, T), floating
        Embeddings per time step.
    pooling : {"max", "mean", "mean+std", "max+mean+std"}
        What is computed over time; several are concatenated in that order. COMET and TS2Vec use the maximum.
    keep : Tensor or None, shape (B, T), bool
        Steps that count; padding is left out. A window without any such step pools over all of them.

    Returns
    -------
    Tensor, shape (B, k * D)
        k is the number of statistics.

    Raises
    ------
    ValueError
        For an unknown pooling.
    """
    parts = pooling.split("+")
    if not set(parts) <= {"max", "mean", "std"}:
        raise ValueError(f"unknown pooling {pooling!r}: use max, mean, mean+std or max+mean+std.")
    if keep is None:
        weight = torch.ones_like(z[:, :1])
    else:
        weight = (keep | ~keep.any(dim=1, keepdim=True))[:, None].to(z.dtype)
    count = weight.sum(dim=2)
    mean = (z * weight).sum(dim=2) / count
    pooled = []
    for part in parts:
        if part == "max":
            pooled.append(z.masked_fill(weight == 0, -torch.inf).amax(dim=2))
        elif part == "mean":
            pooled.append(mean)
        else:
            pooled.append((((z - mean[..., None]) * weight).square().sum(dim=2) / count).sqrt())
    return torch.cat(pooled, dim=1)
