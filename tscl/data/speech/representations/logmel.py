"""The log-mel spectrogram, the baseline representation of Defossez et al. 2023."""

from __future__ import annotations

import functools
from typing import ClassVar

import numpy as np

from tscl.data.speech.representations.base import SpeechRepresentation
from tscl.errors import ConfigError

BLOCK = 2048
"""Frames whose spectra are computed at a time, so that memory does not grow with the sound."""

LONGEST = 2**14
"""Points of the longest Fourier transform."""


class LogMel(SpeechRepresentation):
    """``log(floor + M |STFT|²)``: the power spectrum of Hann windows, summed by triangular mel filters.

    Filters have height 1 and are evenly spaced on HTK's mel scale, ``m = 2595 log10(1 + f / 700)``. The Fourier
    transform is the shortest power of two, at least a frame long, whose frequencies are no further apart than the first
    filter is half wide, so that none is empty: 2048 points for 120 bands, the frame of 512 samples being padded with
    zeros. Beyond its ends the sound is silent.

    Parameters
    ----------
    n_bands : int, default=120
        As in the paper.
    frame, hop : int, default=512 and 128
        Samples of a window and from window to window: 32 ms and 125 Hz at 16 kHz.
    low, high : float, default=0 and None
        Frequency range of the filters, Hz; up to half of ``sound_sfreq`` by default.
    floor : float, default=1e-5
        Absolute: added to the power in every band. A sine of amplitude a has a peak power of ``(a * frame / 4)**2``.
    sound_sfreq : float, default=16000
        Sampling rate of the sound, Hz.

    Raises
    ------
    ConfigError
        For sizes below one, a frequency range that is empty or reaches beyond half of ``sound_sfreq``, a floor that is
        not positive, and bands so narrow that they need a Fourier transform of more than 16,384 points.

    Examples
    --------
    >>> import numpy as np
    >>> LogMel()(np.zeros(48_000, dtype="float32"), sfreq=120.0).shape
    (120, 360)
    """

    name: ClassVar[str] = "logmel"

    def __init__(
        self,
        n_bands: int = 120,
        frame: int = 512,
        hop: int = 128,
        low: float = 0.0,
        high: float | None = None,
        floor: float = 1e-5,
        sound_sfreq: float = 16_000.0,
    ) -> None:
        if min(n_bands, frame, hop) < 1:
            raise ConfigError(f"n_bands={n_bands}, frame={frame} and hop={hop} must be at least 1.")
        if not 0 <= low < (sound_sfreq / 2 if high is None else high) <= sound_sfreq / 2:
            raise ConfigError(f"low={low} and high={high} must lie between 0 and half of sound_sfreq={sound_sfreq} Hz.")
        if floor <= 0:
            raise ConfigError(f"floor={floor} must be positive: the logarithm of silence is taken of it.")
        self.n_bands, self.frame, self.hop = n_bands, frame, hop
        self.low, self.high = float(low), None if high is None else float(high)
        self.floor, self.sound_sfreq = float(floor), float(sound_sfreq)

    @functools.cached_property
    def _filters(self) -> np.ndarray:
        top = self.sound_sfreq / 2 if self.high is None else self.high
        edges = mel_edges(self.n_bands, self.low, top)
        points = max(self.frame, self.sound_sfreq / (edges[1] - edges[0]))
        if points > LONGEST:
            raise ConfigError(f"n_bands={self.n_bands} from {self.low} to {top} Hz are too narrow: take fewer bands.")
        return mel_filters(edges, 1 << (int(np.ceil(points)) - 1).bit_length(), self.sound_sfreq)

    def frames(self, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the log-mel spectrogram; frame k is centred at sample ``k * hop``. See the base class."""
        n_fft = 2 * (self._filters.shape[1] - 1)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.frame) / self.frame)
        n = 1 + len(sound) // self.hop
        before = self.frame // 2
        padded = np.pad(sound, (before, max((n - 1) * self.hop + self.frame - before - len(sound), 0)))
        pieces = np.lib.stride_tricks.sliding_window_view(padded, self.frame)[:: self.hop]
        features = np.empty((self.n_bands, n), dtype=np.float32)
        for start in range(0, n, BLOCK):
            power = np.abs(np.fft.rfft(pieces[start : min(start + BLOCK, n)] * window, n_fft)) ** 2
            features[:, start : start + BLOCK] = np.log(self.floor + self._filters @ power.T)
        return features, np.arange(n) * self.hop / self.sound_sfreq


def mel_edges(n_bands: int, low: float, high: float) -> np.ndarray:
    """Return the edges and peaks of mel filters (n_bands + 2,), Hz: filter k rises from k to k + 1, falls to k + 2."""
    mels = np.linspace(2595 * np.log10(1 + low / 700), 2595 * np.log10(1 + high / 700), n_bands + 2)
    return 700 * (10 ** (mels / 2595) - 1)


def mel_filters(edges: np.ndarray, n_fft: int, sfreq: float) -> np.ndarray:
    """Make triangular filters of height 1.

    Parameters
    ----------
    edges : ndarray, shape (n_bands + 2,)
        See :func:`mel_edges`, Hz.
    n_fft : int
        Points of the Fourier transform.
    sfreq : float
        Sampling rate, Hz.

    Returns
    -------
    ndarray, shape (n_bands, n_fft // 2 + 1), float64
    """
    bins = np.arange(n_fft // 2 + 1) * sfreq / n_fft
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.maximum(0.0, np.minimum((bins - left) / (middle - left), (right - bins) / (right - middle)))
