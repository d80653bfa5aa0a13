"""What augmenters that move time steps have in common."""

from __future__ import annotations

import torch
from torch import Tensor

from tscl.augmenters.base import Augmenter
from tscl.errors import ConfigError
from tscl.types import View


class MovingAugmenter(Augmenter):
    """Base of augmenters that move time steps. A subclass writes ``move``.

    Raises
    ------
    ConfigError
        In use, when the view already has a latent mask or is one of two crops: neither would follow the signal.
    """

    def forward(self, view: View) -> View:
        """Return the view with its time steps moved."""
        refuse_bound(self, view)
        return view._replace(x=self.move(view.x))

    def move(self, x: Tensor) -> Tensor:
        """Return signals of shape (B, C, T'); the given ones (B, C, T) are not changed."""
        raise NotImplementedError(f"{type(self).__name__} must define move(x).")


def refuse_bound(augmenter: Augmenter, view: View) -> None:
    """Refuse a view whose latent mask or span belongs to the time steps as they are; raises ConfigError."""
    name = type(augmenter).__name__
    if view.mask is not None:
        raise ConfigError(f"{name} moves time steps, which the latent mask would not follow: put LatentMask after it.")
    if view.span is not None:
        raise ConfigError(
            f"{name} moves time steps, so the stretch that two crops share would be lost: put OverlappingCrops after "
            "it."
        )


def take(x: Tensor, index: Tensor) -> Tensor:
    """Take time steps, the same for all channels of a window.

    Parameters
    ----------
    x : Tensor, shape (B, C, T)
        The windows.
    index : Tensor, shape (B, T'), int64
        Which time steps.

    Returns
    -------
    Tensor, shape (B, C, T')
    """
    return x.gather(2, index[:, None].expand(-1, x.shape[1], -1))


def resample(x: Tensor, place: Tensor, lengths: Tensor) -> Tensor:
    """Read windows at fractional time steps by linear interpolation.

    Parameters
    ----------
    x : Tensor, shape (B, C, T), floating
        The windows; NaN marks missing values.
    place : Tensor, shape (B, T), floating
        Where to read, in time steps of ``x``; brought into the window where it is outside.
    lengths : Tensor, shape (B,), int64
        Number of time steps before the padding, which stays as it is.

    Returns
    -------
    Tensor, shape (B, C, T)
        NaN where the nearest value of ``x`` is missing; where only the farther one of the two neighbours is, the
        nearer one.
    """
    steps = x.shape[2]
    time = torch.arange(steps, device=x.device)
    last = lengths[:, None] - 1
    place = torch.where(time <= last, place.clamp(min=0).minimum(last), time)
    left = place.long()
    weight = (place - left).to(x.dtype)[:, None]
    a, b = take(x, left), take(x, (left + 1).clamp(max=steps - 1))
    start, stop = torch.where(a.isnan(), b, a), torch.where(b.isnan(), a, b)
    missing = torch.where(weight < 0.5, a, b).isnan()
    return (start + weight * (stop - start)).masked_fill(missing, torch.nan)
