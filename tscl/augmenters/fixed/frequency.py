"""Changes of the spectrum of whole windows.

The transform takes a window for periodic and needs all of its values. Missing ones are filled by a straight line
between their neighbours first (held at the ends, 0 in a channel without any), and are missing again afterwards.
Half-precision signals are transformed in float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tscl.augmenters.base import Augmenter
from tscl.augmenters.fixed.checks import check_sfreq, check_within
from tscl.augmenters.fixed.curves import fill_gaps
from tscl.errors import ConfigError
from tscl.types import View


class SpectralAugmenter(Augmenter):
    """Base of augmenters that change the spectrum. A subclass writes ``change``."""

    def forward(self, view: View) -> View:
        """Return the view with its spectrum changed."""
        x = view.x
        filled = fill_gaps(x if x.dtype == torch.float64 else x.float())
        return view._replace(x=self.forward_filled(filled).to(x.dtype).masked_fill(x.isnan(), torch.nan))

    def forward_filled(self, x: Tensor) -> Tensor:
        """Return signals (B, C, T) made of signals without NaN."""
        return torch.fft.irfft(self.change(torch.fft.rfft(x), x.shape[2]), n=x.shape[2])

    def change(self, spectrum: Tensor, steps: int) -> Tensor:
        """Return another spectrum, (B, C, steps // 2 + 1), complex; bin 0 is the mean, ``steps`` the length."""
        raise NotImplementedError(f"{type(self).__name__} must define change(spectrum, steps).")


class FrequencyMask(SpectralAugmenter):
    """Remove random frequency bins of every window, the same in all channels (Chen et al., FrAug, 2023).

    The mean stays.

    Parameters
    ----------
    p : float
        Probability that a bin is removed.
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        check_within(self, high=1, p=p)
        self.p = p

    def change(self, spectrum: Tensor, steps: int) -> Tensor:
        """Remove bins."""
        return spectrum.masked_fill(_bins(spectrum, self.p), 0)


class FrequencyAddition(SpectralAugmenter):
    """Raise random weak frequency bins of every window (Zhang et al., TF-C, NeurIPS 2022, section 4).

    A bin that is drawn and weaker than ``level`` times the strongest bin of its channel gets that amplitude and keeps
    its phase. The mean stays and is not the strongest bin.

    Parameters
    ----------
    p : float
        Probability that a bin is drawn, for all channels of a window alike.
    level : float
        Amplitude as a share of the strongest bin.
    """

    def __init__(self, p: float = 0.02, level: float = 0.5) -> None:
        super().__init__()
        check_within(self, high=1, p=p, level=level)
        self.p = p
        self.level = level

    def change(self, spectrum: Tensor, steps: int) -> Tensor:
        """Raise bins."""
        amplitude = spectrum.abs()
        wanted = self.level * torch.nn.functional.pad(amplitude[..., 1:], (0, 1)).amax(dim=2, keepdim=True)
        phase = torch.where(amplitude > 0, spectrum / amplitude.clamp(min=torch.finfo(amplitude.dtype).tiny), 1)
        return torch.where(_bins(spectrum, self.p) & (amplitude < wanted), wanted * phase, spectrum)


class FTSurrogate(SpectralAugmenter):
    """Turn the phase of every frequency bin by a random angle (Schwabedal et al., 2018).

    The amplitude spectrum stays as it is (of a window with missing values: of the filled one). All channels of a window
    are turned alike, so that their phase differences stay too.

    Parameters
    ----------
    strength : float
        Angles are uniform between 0 and so many full turns, from 0 to 1.
    """

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        check_within(self, high=1, strength=strength)
        self.strength = strength

    def change(self, spectrum: Tensor, steps: int) -> Tensor:
        """Turn phases; the mean, and the highest bin of a window of even length, have none."""
        n, _, bins = spectrum.shape
        angle = 2 * math.pi * self.strength * torch.rand(n, 1, bins, device=spectrum.device, dtype=spectrum.real.dtype)
        number = torch.arange(bins, device=spectrum.device)
        angle = angle.masked_fill((number == 0) | (2 * number == steps), 0)
        return spectrum * torch.polar(torch.ones_like(angle), angle)


class BandStop(SpectralAugmenter):
    """Remove a random frequency band of every window, the same in all channels (Mohsenvand et al., ML4H 2020).

    Parameters
    ----------
    sfreq : float
        Sampling rate of the windows, Hz.
    width : float
        Width of the band, Hz; at least the bin nearest to its centre is removed.
    low, high : float
        Limits, Hz, within which the band is drawn; by default up to half of the sampling rate.

    Raises
    ------
    ConfigError
        When the limits are not between 0 and half of the sampling rate, or the band does not fit between them.
    """

    def __init__(self, sfreq: float, width: float = 5.0, low: float = 0.0, high: float | None = None) -> None:
        super().__init__()
        check_sfreq(self, sfreq)
        top = sfreq / 2 if high is None else high
        if not 0 <= low <= low + width <= top <= sfreq / 2 or not width > 0:
            raise ConfigError(
                f"BandStop: a band of {width:g} Hz between {low:g} and {top:g} Hz cannot be drawn at {sfreq:g} Hz: "
                "choose 0 <= low < low + width <= high <= sfreq / 2."
            )
        self.sfreq = sfreq
        self.width = width
        self.low = low
        self.high = top

    def change(self, spectrum: Tensor, steps: int) -> Tensor:
        """Remove a band."""
        frequency = torch.fft.rfftfreq(steps, 1 / self.sfreq, device=spectrum.device)
        start = torch.rand(len(spectrum), 1, 1, device=spectrum.device) * (self.high - self.low - self.width)
        away = (frequency - (self.low + start + self.width / 2)).abs()
        stopped = (away <= self.width / 2) | (away == away.amin(dim=2, keepdim=True))
        return spectrum.masked_fill(stopped, 0)


class FrequencyShift(SpectralAugmenter):
    """Shift the whole spectrum of every window by a random frequency (Rommel et al., 2022).

    The analytic signal is multiplied by a rotating phase, the same for all channels of a window; its real part is the
    view. The mean is taken off before and added again afterwards.

    Parameters
    ----------
    sfreq : float
        Sampling rate of the windows, Hz.
    max_shift : float
        Shifts are uniform between minus and plus this, Hz.
    """

    def __init__(self, sfreq: float, max_shift: float = 1.0) -> None:
        super().__init__()
        check_sfreq(self, sfreq)
        check_within(self, high=sfreq / 2, max_shift=max_shift)
        self.sfreq = sfreq
        self.max_shift = max_shift

    def forward_filled(self, x: Tensor) -> Tensor:
        """Shift the spectrum."""
        steps = x.shape[2]
        mean = x.mean(dim=2, keepdim=True)
        spectrum = torch.fft.rfft(x - mean)
        both = torch.full((spectrum.shape[2],), 2.0, device=x.device, dtype=x.dtype)
        both[0] = 1
        if steps % 2 == 0:
            both[-1] = 1
        analytic = torch.fft.ifft(torch.nn.functional.pad(spectrum * both, (0, steps - spectrum.shape[2])))
        shift = self.max_shift * (2 * torch.rand(len(x), 1, 1, device=x.device, dtype=x.dtype) - 1)
        angle = 2 * math.pi * shift / self.sfreq * torch.arange(steps, device=x.device)
        return mean + (analytic.real * angle.cos() - analytic.imag * angle.sin())


def _bins(spectrum: Tensor, p: float) -> Tensor:
    """Draw frequency bins for every window, shape (B, 1, bins), bool; never the mean."""
    drawn = torch.rand(len(spectrum), 1, spectrum.shape[2], device=spectrum.device) < p
    return drawn & (torch.arange(spectrum.shape[2], device=spectrum.device) > 0)
