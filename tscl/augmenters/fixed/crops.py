"""Parts of windows: crops that overlap, crops that are stretched back, slices."""

from __future__ import annotations

import torch
from torch import Tensor

from tscl.augmenters.base import Augmenter
from tscl.augmenters.fixed.checks import check_within
from tscl.augmenters.fixed.curves import filled_lengths
from tscl.augmenters.fixed.moving import MovingAugmenter, refuse_bound, resample, take
from tscl.types import View


class OverlappingCrops(Augmenter):
    """Two random crops of every window that share a stretch (TS2Vec, section 3.2).

    The lengths are the same for the batch, the position differs from window to window. Only the shared stretch is
    contrasted (``View.span``).

    Parameters
    ----------
    min_overlap : int
        Shortest shared stretch in steps.

    Raises
    ------
    ConfigError
        In use, when a view has a latent mask or is a crop already.
    """

    def __init__(self, min_overlap: int = 2) -> None:
        super().__init__()
        self.min_overlap = min_overlap

    def forward(self, view: View) -> View:
        """Return the view itself: a crop is drawn for pairs only."""
        return view

    def pair(self, first: View, second: View) -> tuple[View, View]:
        """Crop the two views; a latent mask must come after the crop, not before."""
        refuse_bound(self, first)
        refuse_bound(self, second)
        steps = first.x.shape[2]
        overlap = _draw(min(self.min_overlap, steps), steps)
        left = _draw(0, steps - overlap)
        right = left + overlap
        start, stop = _draw(0, left), _draw(right, steps)
        offset = torch.randint(-start, steps - stop + 1, (len(first.x), 1), device=first.x.device)
        return (
            first._replace(x=_cut(first.x, offset + start, right - start), span=(left - start, right - start)),
            second._replace(x=_cut(second.x, offset + left, stop - left), span=(0, overlap)),
        )


class RandomCropResize(MovingAugmenter):
    """Take a random part of every window and stretch it to the whole length, by linear interpolation.

    Padding stays at the end; all channels of a window are cut alike.

    Parameters
    ----------
    min_length : float
        Shortest part, as a share of the window, from 0 to 1; the share is uniform between it and 1.
    """

    def __init__(self, min_length: float = 0.5) -> None:
        super().__init__()
        check_within(self, high=1, min_length=min_length)
        self.min_length = min_length

    def move(self, x: Tensor) -> Tensor:
        """Crop and stretch."""
        draw = torch.rand(2, len(x), 1, device=x.device)
        lengths = filled_lengths(x)
        last = (lengths - 1)[:, None]
        share = self.min_length + (1 - self.min_length) * draw[0]
        start = draw[1] * (1 - share) * last
        return resample(x, start + share * torch.arange(x.shape[2], device=x.device), lengths)


class WindowSlice(MovingAugmenter):
    """Take a random slice of every window (window slicing of Le Guennec et al., AALTD 2016).

    The views are SHORTER than the windows: the slice is not stretched back, which ``RandomCropResize`` does. A slice of
    a padded window begins where it holds as little padding as possible.

    Parameters
    ----------
    length : float
        Length of the slice as a share of the window, from 0 to 1, rounded to steps; at least one time step.
    """

    def __init__(self, length: float = 0.9) -> None:
        super().__init__()
        check_within(self, high=1, length=length)
        self.length = length

    def move(self, x: Tensor) -> Tensor:
        """Slice: (B, C, T) to (B, C, T')."""
        length = max(round(self.length * x.shape[2]), 1)
        places = (filled_lengths(x)[:, None] - length).clamp(min=0) + 1
        start = (torch.rand(len(x), 1, device=x.device) * places).long().minimum(places - 1)
        return _cut(x, start, length)


def _draw(low: int, high: int) -> int:
    """Draw an integer from low to high, both included."""
    return int(torch.randint(low, high + 1, ()))


def _cut(x: Tensor, start: Tensor, length: int) -> Tensor:
    return take(x, start + torch.arange(length, device=x.device))
