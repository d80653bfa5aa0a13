"""What several augmenters share: lengths of padded windows, random stretches, smooth curves, gaps."""

from __future__ import annotations

import torch
from torch import Tensor


def filled_lengths(x: Tensor) -> Tensor:
    """Return how many time steps every window has before its padding.

    Parameters
    ----------
    x : Tensor, shape (B, C, T), floating
        NaN in all channels at the end of a window is padding.

    Returns
    -------
    Tensor, shape (B,), int64
        At least 1, so that a window without any value has a length too.
    """
    count = torch.arange(1, x.shape[2] + 1, device=x.device)
    return ((~x.isnan()).any(dim=1) * count).amax(dim=1).clamp(min=1)


def random_stretch(x: Tensor, share: float) -> Tensor:
    """Draw one stretch of time steps for every window, within what is not padding.

    Parameters
    ----------
    x : Tensor, shape (B, C, T), floating
        The windows.
    share : float
        Length of the stretch as a share of the unpadded window, rounded down to steps, at least one step.

    Returns
    -------
    Tensor, shape (B, T), bool
        True within the stretch.
    """
    lengths = filled_lengths(x)[:, None]
    wide = (share * lengths).long().clamp(min=1)
    places = lengths - wide + 1
    start = (torch.rand(len(x), 1, device=x.device) * places).long().clamp(max=places - 1)
    time = torch.arange(x.shape[2], device=x.device)
    return (time >= start) & (time < start + wide)


def smooth_curve(knots: Tensor, steps: int) -> Tensor:
    """Draw a Catmull-Rom spline through evenly spaced knots.

    Parameters
    ----------
    knots : Tensor, shape (..., K), floating
        Values from the first to the last time step, K at least 2.
    steps : int
        Number of time steps.

    Returns
    -------
    Tensor, shape (..., steps)
        Passes through the knots with a continuous slope; a straight line where the knots are on one.
    """
    with torch.autocast(knots.device.type, enabled=False):
        return knots @ _spline_basis(knots.shape[-1], steps, knots)


def _spline_basis(count: int, steps: int, like: Tensor) -> Tensor:
    """Return the splines, shape (count, steps), through knots of which one is 1 and the others are 0."""
    knots = torch.eye(count, dtype=like.dtype, device=like.device)
    place = torch.linspace(0, count - 1, steps, device=like.device)
    left = place.long().clamp(max=count - 2)
    t = (place - left).to(like.dtype)
    before, after = 2 * knots[:, :1] - knots[:, 1:2], 2 * knots[:, -1:] - knots[:, -2:-1]
    padded = torch.cat([before, knots, after], dim=1)
    a, b, c, d = (padded[:, left + shift] for shift in range(4))
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


def fill_gaps(x: Tensor) -> Tensor:
    """Fill missing values by a straight line between their neighbours in time.

    Parameters
    ----------
    x : Tensor, shape (B, C, T), floating
        NaN marks missing values.

    Returns
    -------
    Tensor, shape (B, C, T)
        Before the first and after the last value of a channel that value is held; a channel without any is 0.
    """
    missing = x.isnan()
    # On a GPU asking would make the host wait, which costs more than filling nothing.
    if x.device.type == "cpu" and not missing.any():
        return x
    steps = x.shape[2]
    time = torch.arange(steps, device=x.device).expand_as(x)
    before = torch.where(missing, -1, time).cummax(dim=2).values
    after = torch.where(missing, steps, time).flip(2).cummin(dim=2).values.flip(2)
    left = torch.where(before < 0, after, before).clamp(max=steps - 1)
    right = torch.where(after == steps, before, after).clamp(min=0)
    weight = (time - left).to(x.dtype) / (right - left).clamp(min=1)
    known = torch.where(missing, 0, x)
    start = known.gather(2, left)
    return torch.where(missing, start + weight * (known.gather(2, right) - start), x)
