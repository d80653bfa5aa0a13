"""Time that runs faster here and slower there. The length stays, and padding stays at the end."""

from __future__ import annotations

import torch
from torch import Tensor

from tscl.augmenters.fixed.checks import check_within
from tscl.augmenters.fixed.curves import filled_lengths, smooth_curve
from tscl.augmenters.fixed.moving import MovingAugmenter, resample


class TimeWarp(MovingAugmenter):
    """Let time run at a smoothly varying speed (Um et al., ICMI 2017).

    The first and the last time step stay where they are. The speed is the exponential of a smooth curve, so that time
    never runs backwards; it is the same for all channels of a window.

    Parameters
    ----------
    sigma : float
        Standard deviation of the logarithm of the speed at the knots.
    knots : int
        Number of knots between the first and the last time step, evenly spaced; a Catmull-Rom spline joins them.
    """

    def __init__(self, sigma: float = 0.2, knots: int = 4) -> None:
        super().__init__()
        check_within(self, sigma=sigma, knots=knots)
        self.sigma = sigma
        self.knots = knots

    def move(self, x: Tensor) -> Tensor:
        """Warp time."""
        noise = torch.randn(len(x), self.knots + 2, device=x.device)
        speed = smooth_curve(self.sigma * noise, x.shape[2]).exp()
        passed = torch.nn.functional.pad(((speed[:, 1:] + speed[:, :-1]) / 2).cumsum(dim=1), (1, 0))
        lengths = filled_lengths(x)
        last = (lengths - 1)[:, None]
        whole = passed.gather(1, last).clamp(min=torch.finfo(passed.dtype).tiny)
        return resample(x, passed / whole * last, lengths)


class WindowWarp(MovingAugmenter):
    """Speed one random stretch of every window up, or slow it down (Le Guennec et al., AALTD 2016).

    The warped window is stretched back to its length. All channels of a window are warped alike.

    Parameters
    ----------
    length : float
        Length of the stretch as a share of the window, from 0 to 1.
    factor : float
        The stretch becomes so many times as long, or as short; either with probability one half.
    """

    def __init__(self, length: float = 0.1, factor: float = 2.0) -> None:
        super().__init__()
        check_within(self, high=1, length=length)
        check_within(self, low=1, factor=factor)
        self.length = length
        self.factor = factor

    def move(self, x: Tensor) -> Tensor:
        """Warp a stretch of time."""
        draw = torch.rand(2, len(x), 1, device=x.device)
        lengths = filled_lengths(x)
        last = (lengths - 1)[:, None]
        wide = self.length * last
        start = draw[0] * (last - wide)
        factor = torch.where(draw[1] < 0.5, self.factor, 1 / self.factor)
        longer = last + (factor - 1) * wide
        time = torch.arange(x.shape[2], device=x.device) * longer / last.clamp(min=1)
        behind = time - (factor - 1) * wide
        within = start + (time - start) / factor
        return resample(x, torch.where(time < start, time, torch.where(behind > start + wide, behind, within)), lengths)
