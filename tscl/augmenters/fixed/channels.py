"""Channels that are missing or confused. Time steps stay where they are."""

from __future__ import annotations

import torch

from tscl.augmenters.base import Augmenter
from tscl.augmenters.fixed.checks import check_within
from tscl.types import View


class ChannelDropout(Augmenter):
    """Set random channels of every window to zero (Saeed et al., 2021).

    At least one channel, drawn at random, stays. Missing values stay missing.

    Parameters
    ----------
    p : float
        Probability that a channel is dropped.
    """

    def __init__(self, p: float = 0.2) -> None:
        super().__init__()
        check_within(self, high=1, p=p)
        self.p = p

    def forward(self, view: View) -> View:
        """Return the view without some of its channels."""
        draw = torch.rand(view.x.shape[:2], device=view.x.device)
        dropped = (draw < self.p) & (draw < draw.amax(dim=1, keepdim=True))
        return view._replace(x=view.x.masked_fill(dropped[:, :, None] & ~view.x.isnan(), 0))


class ChannelShuffle(Augmenter):
    """Exchange the signals of random channels of every window (Saeed et al., 2021).

    Missing values go with their channel.

    Parameters
    ----------
    p : float
        Probability that a channel takes part; those that do are put in random order.
    """

    def __init__(self, p: float = 0.2) -> None:
        super().__init__()
        check_within(self, high=1, p=p)
        self.p = p

    def forward(self, view: View) -> View:
        """Return the view with some of its channels exchanged."""
        n, channels, steps = view.x.shape
        draw = torch.rand(2, n, channels, device=view.x.device)
        stays = draw[0] >= self.p
        number = torch.arange(channels, device=view.x.device)
        places = (number + channels * stays).argsort(dim=1)
        sources = torch.where(stays, 1 + number, draw[1]).argsort(dim=1)
        order = torch.empty_like(places).scatter(1, places, sources)
        return view._replace(x=view.x.gather(1, order[:, :, None].expand(-1, -1, steps)))
