"""Time steps in another order."""

from __future__ import annotations

import torch
from torch import Tensor

from tscl.augmenters.fixed.checks import check_within
from tscl.augmenters.fixed.curves import filled_lengths
from tscl.augmenters.fixed.moving import MovingAugmenter, take


class Permutation(MovingAugmenter):
    """Cut every window at random points and put the segments together in random order (Um et al., ICMI 2017).

    The strong augmentation of TS-TCC (Eldele et al., IJCAI 2021, section 3.1). All channels of a window are cut alike,
    and padding stays at the end.

    Parameters
    ----------
    max_segments : int
        Every window is cut into 2 to so many segments, of random lengths.
    """

    def __init__(self, max_segments: int = 5) -> None:
        super().__init__()
        check_within(self, low=2, max_segments=max_segments)
        self.max_segments = max_segments

    def move(self, x: Tensor) -> Tensor:
        """Permute the segments."""
        n, steps, device = len(x), x.shape[2], x.device
        time = torch.arange(steps, device=device)
        padding = time >= filled_lengths(x)[:, None]
        score = torch.rand(n, steps, device=device).masked_fill((time == 0) | padding, 2.0)
        cuts = torch.randint(1, self.max_segments, (n, 1), device=device)
        segment = ((score.argsort(dim=1).argsort(dim=1) < cuts) & (score < 1)).cumsum(dim=1)
        key = torch.rand(n, self.max_segments, device=device).gather(1, segment).masked_fill(padding, 2.0)
        return take(x, key.argsort(dim=1, stable=True))


class TimeReversal(MovingAugmenter):
    """Play windows backwards; padding stays at the end.

    Parameters
    ----------
    p : float
        Probability that a window is reversed; each side of a pair is drawn anew.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        check_within(self, high=1, p=p)
        self.p = p

    def move(self, x: Tensor) -> Tensor:
        """Reverse some of the windows."""
        time = torch.arange(x.shape[2], device=x.device)
        back = filled_lengths(x)[:, None] - 1 - time
        reversed_ = torch.rand(len(x), 1, device=x.device) < self.p
        return take(x, torch.where(reversed_ & (back >= 0), back, time))
