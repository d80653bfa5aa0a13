"""Steps: a recording goes in, a changed copy comes out.

Missing values: filters and resampling bridge NaN stretches by straight lines, work, and put NaN back where it was, so
that a gap does not smear over its surroundings. A channel that is NaN throughout stays so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any, Literal

import numpy as np

from tscl.data.preprocessing.trials import Trial
from tscl.data.recording import Recording
from tscl.errors import ConfigError, DataError


class Step(ABC):
    """Base of the steps; any callable of the same signature does as well."""

    @abstractmethod
    def __call__(self, recording: Recording) -> Recording:
        """Return the changed recording; the one that came in stays as it is."""


def bridge_gaps(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill NaN stretches by linear interpolation, ends by the nearest value, all-NaN channels by 0.

    Parameters
    ----------
    data : ndarray, shape (C, T)

    Returns
    -------
    filled : ndarray, shape (C, T), float64
    missing : ndarray, shape (C, T), bool
    """
    filled = np.array(data, dtype=np.float64)
    missing = np.isnan(filled)
    for row, gap in zip(filled, missing, strict=True):
        if gap.all():
            row[:] = 0.0
        elif gap.any():
            row[gap] = np.interp(np.flatnonzero(gap), np.flatnonzero(~gap), row[~gap])
    return filled, missing


def _through(recording: Recording, function: Callable[[np.ndarray], np.ndarray], what: str) -> Recording:
    filled, missing = bridge_gaps(recording.data)
    try:
        filtered = function(filled)
    except ValueError as error:
        raise DataError(
            f"{recording.source or recording.name}: {recording.data.shape[1]} time steps are too few for {what}: leave "
            f"the file out or drop the step ({error})."
        ) from error
    filtered[missing] = np.nan
    return replace(recording, data=filtered)


def scale_rows(data: np.ndarray, method: str) -> np.ndarray:
    """Centre and scale every row; constant rows become 0, NaN stays NaN.

    Parameters
    ----------
    data : ndarray, shape (C, N)
    method : {"standard", "robust"}
        Mean and standard deviation, or median and interquartile range (standard deviation where that range is 0).

    Returns
    -------
    ndarray, shape (C, N), float32
    """
    out = np.full(data.shape, np.nan, dtype=np.float32)
    for target, row in zip(out, data, strict=True):
        known = ~np.isnan(row)
        values = row[known].astype(np.float64)
        if not len(values):
            continue
        spread = values.std()
        if spread <= np.finfo(np.float32).eps * np.abs(values).max():
            target[known] = 0.0
            continue
        centre = values.mean()
        if method == "robust":
            low, centre, high = np.percentile(values, [25, 50, 75])
            spread = high - low or spread
        target[known] = (values - centre) / spread
    return out


@dataclass(frozen=True)
class PickChannels(Step):
    """Keep channels by name, in the order asked for, or by MNE type, in the order of the file.

    Parameters
    ----------
    names : sequence of str, optional
        Channel names; files that hold the same channels in another order come out alike.
    types : sequence of str, optional
        Channel types such as ``["eeg"]``. Give either names or types.
    """

    names: Sequence[str] | None = None
    types: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if (self.names is None) == (self.types is None):
            raise ConfigError("PickChannels needs either names or types.")

    def __call__(self, recording: Recording) -> Recording:
        """Return the chosen channels; raises DataError listing those there are when one is missing."""
        there = recording.channels
        where = recording.source or recording.name
        if self.names is not None:
            missing = [name for name in self.names if name not in there.names]
            if missing:
                raise DataError(f"{where} has no channels {missing}; it has {list(there.names)}.")
            index = [there.names.index(name) for name in self.names]
        else:
            index = [i for i, kind in enumerate(there.types) if kind in (self.types or ())]
            if not index:
                raise DataError(
                    f"{where} has no channels of the types {self.types}; it has {sorted(set(there.types))}."
                )
        return replace(recording, data=recording.data[index], channels=there.pick(index))


@dataclass(frozen=True)
class Resample(Step):
    """Bring the recording to another sampling rate with a polyphase anti-aliasing filter.

    Parameters
    ----------
    sfreq : float
        New sampling rate in Hz. A time step is NaN where the nearest one of the original is.
    """

    sfreq: float

    def __post_init__(self) -> None:
        if self.sfreq <= 0:
            raise ConfigError(f"Resample(sfreq={self.sfreq}): the sampling rate must be positive.")

    def __call__(self, recording: Recording) -> Recording:
        """Return the resampled recording, shape (C, ceil(T * sfreq / old sfreq))."""
        from scipy.signal import resample_poly

        if recording.sfreq == self.sfreq:
            return recording
        ratio = Fraction(self.sfreq / recording.sfreq).limit_denominator(10_000)
        filled, missing = bridge_gaps(recording.data)
        data = resample_poly(filled, ratio.numerator, ratio.denominator, axis=1, padtype="line")
        positions = np.round(np.arange(data.shape[1]) * (recording.sfreq / self.sfreq)).astype(int)
        nearest = np.minimum(positions, recording.data.shape[1] - 1)
        data[missing[:, nearest]] = np.nan
        changed: dict[str, Any] = {"data": data, "channels": replace(recording.channels, sfreq=self.sfreq)}
        if isinstance(recording, Trial) and recording.times is not None:
            changed["times"] = recording.times[nearest]
        return replace(recording, **changed)


@dataclass(frozen=True)
class BandPass(Step):
    """Zero-phase Butterworth filter (forward and backward).

    Parameters
    ----------
    low : float, optional
        Lower edge in Hz; None lets slow changes pass.
    high : float, optional
        Upper edge in Hz; None lets fast changes pass.
    order : int
        Order of one pass.
    """

    low: float | None = None
    high: float | None = None
    order: int = 4

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            raise ConfigError("BandPass needs low, high or both.")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ConfigError(f"BandPass(low={self.low:g}, high={self.high:g}): low must be below high.")
        if min(edge for edge in (self.low, self.high) if edge is not None) <= 0:
            raise ConfigError("BandPass edges must be positive: leave an edge out (None) instead of 0.")

    def __call__(self, recording: Recording) -> Recording:
        """Return the filtered recording; raises ConfigError when an edge is not below half the sampling rate."""
        from scipy.signal import butter, sosfiltfilt

        edges = [edge for edge in (self.low, self.high) if edge is not None]
        if max(edges) >= recording.sfreq / 2:
            raise ConfigError(
                f"{recording.source or recording.name}: an edge of {max(edges):g} Hz is not below half the sampling "
                f"rate ({recording.sfreq:g} Hz): lower it or leave it out."
            )
        kind = "highpass" if self.high is None else "lowpass" if self.low is None else "bandpass"
        sos = butter(self.order, edges if len(edges) == 2 else edges[0], kind, fs=recording.sfreq, output="sos")
        return _through(recording, partial(sosfiltfilt, sos, axis=1), "this band-pass filter")


@dataclass(frozen=True)
class Notch(Step):
    """Zero-phase notch filter against mains hum.

    Parameters
    ----------
    freq : float
        Frequency in Hz, 50 in most of the world, 60 in America.
    harmonics : int
        How many multiples to remove, counting ``freq`` itself; those above half the sampling rate are left out.
    quality : float
        Frequency divided by the width (-3 dB) of the notch.
    """

    freq: float = 50.0
    harmonics: int = 1
    quality: float = 30.0

    def __call__(self, recording: Recording) -> Recording:
        """Return the filtered recording; raises ConfigError when ``freq`` is not below half the sampling rate."""
        from scipy.signal import filtfilt, iirnotch

        if not 0 < self.freq < recording.sfreq / 2:
            raise ConfigError(
                f"{recording.source or recording.name}: a notch at {self.freq:g} Hz is not below half the sampling "
                f"rate ({recording.sfreq:g} Hz): leave the step out."
            )
        for harmonic in range(1, self.harmonics + 1):
            if harmonic * self.freq < recording.sfreq / 2:
                b, a = iirnotch(harmonic * self.freq, self.quality, fs=recording.sfreq)
                recording = _through(recording, partial(filtfilt, b, a, axis=1), "this notch filter")
        return recording


@dataclass(frozen=True)
class AverageReference(Step):
    """Subtract the mean over the channels of one type at every time step; other channels stay as they are.

    Parameters
    ----------
    ch_type : str
        MNE channel type.
    """

    ch_type: str = "eeg"

    def __call__(self, recording: Recording) -> Recording:
        """Return the re-referenced recording; NaN channels do not count in the mean."""
        rows = np.array([kind == self.ch_type for kind in recording.channels.types])
        if not rows.any():
            raise DataError(
                f"{recording.source or recording.name} has no {self.ch_type!r} channels for an average reference."
            )
        data = recording.data.copy()
        known = ~np.isnan(data[rows])
        total = np.where(known, data[rows], 0).sum(axis=0, dtype=np.float64)
        data[rows] -= (total / np.maximum(known.sum(axis=0), 1)).astype(np.float32)
        return replace(recording, data=data)


@dataclass(frozen=True)
class Scale(Step):
    """Centre and scale every channel over what it is given: a recording in ``steps``, a trial in ``trial_steps``.

    Parameters
    ----------
    method : {"standard", "robust"}
        Mean and standard deviation, or median and interquartile range. Constant channels become 0, NaN stays NaN; the
        unit becomes ``"a.u."``.
    """

    method: Literal["standard", "robust"] = "standard"

    def __post_init__(self) -> None:
        if self.method not in ("standard", "robust"):
            raise ConfigError(f"Scale(method={self.method!r}): choose 'standard' or 'robust'.")

    def __call__(self, recording: Recording) -> Recording:
        """Return the scaled recording."""
        data = scale_rows(recording.data, self.method)
        return replace(recording, data=data, channels=replace(recording.channels, unit="a.u."))


@dataclass(frozen=True)
class Rescale(Step):
    """Multiply by a factor and name the new unit, such as ``Rescale(1e-3, "mV")`` for values in uV.

    Parameters
    ----------
    factor : float
        What every value is multiplied by.
    unit : str
        The unit of the result.
    """

    factor: float
    unit: str

    def __call__(self, recording: Recording) -> Recording:
        """Return the recording in the new unit."""
        return replace(
            recording, data=recording.data * self.factor, channels=replace(recording.channels, unit=self.unit)
        )


@dataclass(frozen=True)
class Clip(Step):
    """Limit values to [-limit, limit].

    Parameters
    ----------
    limit : float
        Above 0, in the unit that the recording has at this point.
    """

    limit: float

    def __post_init__(self) -> None:
        if self.limit <= 0:
            raise ConfigError(f"Clip(limit={self.limit}): the limit must be positive.")

    def __call__(self, recording: Recording) -> Recording:
        """Return the clipped recording; NaN stays NaN."""
        return replace(recording, data=np.clip(recording.data, -self.limit, self.limit))
