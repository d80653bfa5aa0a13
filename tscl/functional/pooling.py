"""From one embedding a time step to one embedding a window."""

from __future__ import annotations

import torch
from torch import Tensor

STATISTICS = ("max", "mean", "std", "logstd")


def parse_pooling(pooling: str) -> list[tuple[str, int]]:
    """Split a pooling such as ``"max+mean/7"`` into statistics and numbers of time segments.

    Raises
    ------
    ValueError
        For anything but statistics joined by ``+``, each with an optional number of segments.
    """
    parts = []
    for part in pooling.split("+"):
        name, slash, segments = part.partition("/")
        if name not in STATISTICS or (slash and not (segments.isdecimal() and int(segments) > 0)):
            raise ValueError(
                f"unknown pooling {pooling!r}: join {', '.join(STATISTICS)} by '+', each with '/k' for k time segments "
                "where wanted, such as 'max' or 'mean/7+max/7'."
            )
        parts.append((name, int(segments or 1)))
    return parts


def pool_time(z: Tensor, pooling: str = "max", keep: Tensor | None = None) -> Tensor:
    """Pool embeddings over time.

    Parameters
    ----------
    z : Tensor, shape (B, D, T), floating
        Embeddings per time step.
    pooling : str
        Statistics joined by ``+``: ``"max"`` (COMET and TS2Vec), ``"mean"``, ``"std"``, ``"logstd"`` (half the log of
        the variance plus 1e-4). ``"mean/7"`` takes it in each of seven equal stretches of time, for windows that are
        aligned to an event such as a heartbeat.
    keep : Tensor or None, shape (B, T), bool
        Steps that count; padding is left out. A stretch without any such step pools over all of its steps.

    Returns
    -------
    Tensor, shape (B, k * D)
        k is the number of statistics, each counted once a segment.

    Raises
    ------
    ValueError
        For an unknown pooling, or more segments than time steps.
    """
    if keep is None:
        keep = torch.ones_like(z[:, 0], dtype=torch.bool)
    pooled = []
    for name, segments in parse_pooling(pooling):
        if segments > z.shape[2]:
            raise ValueError(f"pooling {pooling!r} asks for {segments} segments of {z.shape[2]} time steps.")
        for part, kept in zip(z.tensor_split(segments, dim=2), keep.tensor_split(segments, dim=1), strict=True):
            pooled.append(_statistic(name, part, kept))
    return torch.cat(pooled, dim=1)


def _statistic(name: str, z: Tensor, keep: Tensor) -> Tensor:
    visible = (keep | ~keep.any(dim=1, keepdim=True))[:, None]
    if name == "max":
        return z.masked_fill(~visible, -torch.inf).amax(dim=2)
    weight = visible.to(z.dtype)
    count = weight.sum(dim=2)
    mean = (z * weight).sum(dim=2) / count
    if name == "mean":
        return mean
    variance = ((z - mean[..., None]) * weight).square().sum(dim=2) / count
    return variance.sqrt() if name == "std" else (variance + 1e-4).log() / 2
