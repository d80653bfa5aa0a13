"""Changes of amplitude: every time step stays where it is, and NaN stays NaN."""

from __future__ import annotations

import torch

from tscl.augmenters.base import Augmenter
from tscl.augmenters.fixed.checks import check_within
from tscl.augmenters.fixed.curves import random_stretch, smooth_curve
from tscl.types import View


class Jitter(Augmenter):
    """Add white Gaussian noise (Um et al., ICMI 2017).

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise, in the unit of the signal.
    """

    def __init__(self, sigma: float = 0.1) -> None:
        super().__init__()
        check_within(self, sigma=sigma)
        self.sigma = sigma

    def forward(self, view: View) -> View:
        """Return the noisy view."""
        return view._replace(x=view.x + self.sigma * torch.randn_like(view.x))


class Scaling(Augmenter):
    """Multiply every window, all of its channels alike, by a random factor around 1 (Um et al., ICMI 2017).

    Parameters
    ----------
    sigma : float
        Standard deviation of the factor.
    """

    def __init__(self, sigma: float = 0.1) -> None:
        super().__init__()
        check_within(self, sigma=sigma)
        self.sigma = sigma

    def forward(self, view: View) -> View:
        """Return the scaled view."""
        factor = 1 + self.sigma * torch.randn(len(view.x), 1, 1, device=view.x.device, dtype=view.x.dtype)
        return view._replace(x=view.x * factor)


class ChannelScaling(Augmenter):
    """Multiply every channel of every window by a random factor around 1 of its own.

    Parameters
    ----------
    sigma : float
        Standard deviation of the factor.
    """

    def __init__(self, sigma: float = 0.1) -> None:
        super().__init__()
        check_within(self, sigma=sigma)
        self.sigma = sigma

    def forward(self, view: View) -> View:
        """Return the scaled view."""
        factor = 1 + self.sigma * torch.randn(*view.x.shape[:2], 1, device=view.x.device, dtype=view.x.dtype)
        return view._replace(x=view.x * factor)


class MagnitudeWarp(Augmenter):
    """Multiply every channel of every window by a smooth random curve around 1 (Um et al., ICMI 2017).

    Parameters
    ----------
    sigma : float
        Standard deviation of the curve's knots.
    knots : int
        Number of knots between the first and the last time step, evenly spaced; a Catmull-Rom spline joins them.
    """

    def __init__(self, sigma: float = 0.2, knots: int = 4) -> None:
        super().__init__()
        check_within(self, sigma=sigma, knots=knots)
        self.sigma = sigma
        self.knots = knots

    def forward(self, view: View) -> View:
        """Return the view with its magnitude warped."""
        n, channels, steps = view.x.shape
        noise = torch.randn(n, channels, self.knots + 2, device=view.x.device, dtype=view.x.dtype)
        return view._replace(x=view.x * smooth_curve(1 + self.sigma * noise, steps))


class SignFlip(Augmenter):
    """Turn windows upside down: all channels of a window change their sign, or none (Iwana and Uchida, 2021).

    Parameters
    ----------
    p : float
        Probability that a window is flipped; each side of a pair is drawn anew.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        check_within(self, high=1, p=p)
        self.p = p

    def forward(self, view: View) -> View:
        """Return the view, some of its windows flipped."""
        flipped = torch.rand(len(view.x), 1, 1, device=view.x.device) < self.p
        return view._replace(x=torch.where(flipped, -view.x, view.x))


class CutOut(Augmenter):
    """Replace one random stretch of every window, in all channels, by a constant (DeVries and Taylor, 2017).

    Parameters
    ----------
    length : float
        Length of the stretch as a share of the window, from 0 to 1; at least one time step.
    value : float
        What is written there: 0 is the mean of standardised signals; ``.nan`` makes the encoder hide the stretch.
        Where the signal is missing it stays missing.
    """

    def __init__(self, length: float = 0.2, value: float = 0.0) -> None:
        super().__init__()
        check_within(self, high=1, length=length)
        self.length = length
        self.value = value

    def forward(self, view: View) -> View:
        """Return the view with a stretch cut out."""
        cut = random_stretch(view.x, self.length)[:, None] & ~view.x.isnan()
        return view._replace(x=view.x.masked_fill(cut, self.value))
