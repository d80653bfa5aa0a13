"""Ways to cut a recording into trials, and a trial into windows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from tscl.data.recording import Annotation, Recording
from tscl.errors import ConfigError, DataError


class RecordingSkipped(DataError):
    """The recipe leaves this recording out, by its own rules; never a reason to stop, always listed in ``.skipped``."""


@dataclass
class Trial(Recording):
    """A stretch of a recording that was cut out of it.

    Attributes
    ----------
    onset : float
        Seconds from the start of the recording to the first time step.
    times : ndarray or None, shape (T,), float64
        Where the time steps do not follow each other evenly (heartbeats): second of the recording of each of them, NaN
        where it is padding. None means ``onset + arange(T) / sfreq``.
    """

    onset: float = 0.0
    times: np.ndarray | None = None

    @classmethod
    def cut(cls, recording: Recording, start: int, stop: int) -> Trial:
        """Return the time steps ``start`` to ``stop`` (exclusive) of a recording."""
        values = {f.name: getattr(recording, f.name) for f in fields(Recording)}
        values["data"] = recording.data[:, start:stop]
        onset, times = start / recording.sfreq, None
        if isinstance(recording, Trial):
            onset = recording.time(start)
            times = None if recording.times is None else recording.times[start:stop]
        return cls(**values, onset=onset, times=times)

    def time(self, start: int) -> float:
        """Return the second of the recording at which a window that begins at step ``start`` begins."""
        if self.times is None:
            return self.onset + start / self.sfreq
        later = self.times[start:]
        known = later[np.isfinite(later)]
        return float(known[0]) if len(known) else self.onset


class TrialCutter(ABC):
    """Base of the ways to cut a recording into trials; any callable of the same signature does as well."""

    @abstractmethod
    def __call__(self, recording: Recording) -> list[Trial]:
        """Return the trials of a recording, in the order of time."""


def _steps(seconds: float, sfreq: float, what: str) -> int:
    n_times = round(seconds * sfreq)
    if n_times < 1:
        raise ConfigError(f"{what} of {seconds:g} s is shorter than one time step at {sfreq:g} Hz: make it longer.")
    return n_times


def _too_short(recording: Recording, what: str, seconds: float) -> DataError:
    return DataError(
        f"{recording.source or recording.name}: the recording lasts {recording.duration:g} s, {what} {seconds:g} s: "
        "choose a shorter one, or leave the file out (on_error='skip')."
    )


@dataclass(frozen=True)
class WholeRecording(TrialCutter):
    """The recording is one trial."""

    def __call__(self, recording: Recording) -> list[Trial]:
        """Return one trial."""
        return [Trial.cut(recording, 0, recording.data.shape[1])]


@dataclass(frozen=True)
class FixedTrials(TrialCutter):
    """Trials of equal length, one after the other from ``start``; a shorter rest is left out.

    Parameters
    ----------
    seconds : float
        Length of a trial in seconds.
    start : float
        Second of the recording at which the first trial begins.
    stop : float, optional
        Second of the recording that no trial passes.
    max_trials : int, optional
        Keep at most so many trials.
    """

    seconds: float
    start: float = 0.0
    stop: float | None = None
    max_trials: int | None = None

    def __call__(self, recording: Recording) -> list[Trial]:
        """Return the trials; raises DataError when not one fits."""
        length = _steps(self.seconds, recording.sfreq, "a trial")
        first = round(self.start * recording.sfreq)
        end = recording.data.shape[1] if self.stop is None else round(self.stop * recording.sfreq)
        starts = range(first, min(end, recording.data.shape[1]) - length + 1, length)[: self.max_trials]
        if not starts:
            raise _too_short(recording, f"from {self.start:g} s on not one trial fits of", self.seconds)
        return [Trial.cut(recording, start, start + length) for start in starts]


@dataclass(frozen=True)
class CentredTrials(TrialCutter):
    """Trials of equal length that fill the recording from its middle outwards (COMET's TDBrain recipe).

    An even number of trials meet in the middle; what is left at both ends is dropped.

    Parameters
    ----------
    seconds : float
        Length of a trial in seconds.
    max_trials : int, optional
        Keep at most so many trials, those nearest to the middle.
    """

    seconds: float
    max_trials: int | None = None

    def __call__(self, recording: Recording) -> list[Trial]:
        """Return the trials in the order of time; raises DataError when not one fits."""
        length = _steps(self.seconds, recording.sfreq, "a trial")
        n_times = recording.data.shape[1]
        count = n_times // length if self.max_trials is None else min(n_times // length, self.max_trials)
        if count > 1:
            count -= count % 2
        if count == 0:
            raise _too_short(recording, "a trial", self.seconds)
        first = (n_times - count * length) // 2
        return [Trial.cut(recording, first + i * length, first + (i + 1) * length) for i in range(count)]


@dataclass(frozen=True)
class AnnotatedTrials(TrialCutter):
    """One trial for each annotation, labelled with its description.

    Parameters
    ----------
    descriptions : sequence of str, optional
        Annotations to use; all by default.
    before, after : float
        The trial lasts from ``before`` seconds before the onset to ``after`` seconds after it. Without ``after`` it
        lasts as long as the annotation does.
    label : str
        Label column that receives the description.
    """

    descriptions: Sequence[str] | None = None
    before: float = 0.0
    after: float | None = None
    label: str = "event"

    def __call__(self, recording: Recording) -> list[Trial]:
        """Return the trials that lie inside the recording; raises DataError when there is none."""
        trials = []
        for annotation in recording.annotations:
            if self.descriptions is not None and annotation.description not in self.descriptions:
                continue
            after = annotation.duration if self.after is None else self.after
            length = round((self.before + after) * recording.sfreq)
            start = round((annotation.onset - self.before) * recording.sfreq)
            if length < 1 or start < 0 or start + length > recording.data.shape[1]:
                continue
            trial = Trial.cut(recording, start, start + length)
            trial.labels = {**recording.labels, self.label: annotation.description}
            trials.append(trial)
        if not trials:
            there = sorted({annotation.description for annotation in recording.annotations})
            wanted = "any" if self.descriptions is None else list(self.descriptions)
            raise DataError(
                f"{recording.source or recording.name}: no trial for {wanted} annotations fits inside the recording, "
                f"which has {there}: check the descriptions and give after= where annotations have no duration."
            )
        return trials


@dataclass(frozen=True)
class SlidingWindows:
    """Windows of equal length inside a trial; a shorter rest is left out.

    Parameters
    ----------
    seconds : float
        Length of a window in seconds.
    overlap : float
        Part of a window that the next one repeats, 0 <= overlap < 1.
    skip_bad : bool
        Leave out windows that overlap an annotation whose description begins with "bad", as MNE does.

    Examples
    --------
    >>> SlidingWindows(1.0, overlap=0.5).starts(n_times=1280, sfreq=256.0)
    [0, 128, 256, 384, 512, 640, 768, 896, 1024]
    """

    seconds: float
    overlap: float = 0.0
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and 0 <= self.overlap < 1):
            raise ConfigError(
                f"windows of {self.seconds:g} s with overlap {self.overlap:g}: seconds must be positive "
                "and 0 <= overlap < 1."
            )

    def length(self, sfreq: float) -> int:
        """Return the time steps of a window at ``sfreq`` (Hz)."""
        return _steps(self.seconds, sfreq, "a window")

    def starts(self, n_times: int, sfreq: float) -> list[int]:
        """Return the first time step of every window in a trial of ``n_times`` steps at ``sfreq`` (Hz)."""
        length = self.length(sfreq)
        step = max(1, math.floor(length * (1 - self.overlap) + 0.5))
        return list(range(0, n_times - length + 1, step))

    def __call__(self, trial: Trial) -> tuple[np.ndarray, list[float]]:
        """Cut a trial.

        Returns
        -------
        windows : ndarray, shape (n, C, T), float32
            None may be left where bad ones are skipped.
        onsets : list of float
            Seconds from the start of the recording.

        Raises
        ------
        DataError
            When the trial is shorter than a window.
        """
        length = self.length(trial.sfreq)
        starts = self.starts(trial.data.shape[1], trial.sfreq)
        if not starts:
            raise DataError(
                f"{trial.source or trial.name}: a trial of {trial.data.shape[1]} time steps ({trial.duration:g} s) is "
                f"shorter than a window of {length} ({self.seconds:g} s): choose shorter windows, or leave the file "
                "out (on_error='skip')."
            )
        if self.skip_bad:
            bad = [one for one in trial.annotations if one.description.lower().startswith("bad")]
            starts = [start for start in starts if not _overlaps(bad, trial.time(start), length / trial.sfreq)]
        windows = [trial.data[:, start : start + length] for start in starts]
        stacked = np.stack(windows) if windows else np.empty((0, len(trial.data), length), dtype=np.float32)
        return stacked, [trial.time(start) for start in starts]


def _overlaps(annotations: Sequence[Annotation], onset: float, seconds: float) -> bool:
    return any(one.onset < onset + seconds and one.onset + one.duration > onset for one in annotations)
