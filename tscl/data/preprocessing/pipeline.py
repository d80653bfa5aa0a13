"""The whole way from a recording to its windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tscl.data.preprocessing.steps import Step, scale_rows
from tscl.data.preprocessing.trials import RecordingSkipped, SlidingWindows, Trial, TrialCutter, WholeRecording
from tscl.data.recording import Channels, Recording
from tscl.errors import DataError


@dataclass
class Windows:
    """The windows of one recording.

    Attributes
    ----------
    signals : list of ndarray, each of shape (n_windows, C, T), float32
        One array a trial.
    channels : Channels
        What the rows are after preprocessing.
    ids : dict of str to str
        Ids of the recording.
    labels : list of dict
        Label columns of every trial.
    onsets : list of list of float
        For every trial, seconds from the start of the recording to each window.
    source : str
        File.
    """

    signals: list[np.ndarray]
    channels: Channels
    ids: dict[str, str]
    labels: list[dict[str, Any]]
    onsets: list[list[float]]
    source: str


def check_finite(recording: Recording) -> None:
    """Raise DataError naming file and channels when the signals hold infinite values."""
    infinite = np.isinf(recording.data).any(axis=1)
    if infinite.any():
        names = [name for name, bad in zip(recording.channels.names, infinite, strict=True) if bad]
        raise DataError(
            f"{recording.source or recording.name}: infinite values in the channels {names}: mark missing values "
            "by NaN, or leave the file out."
        )


@dataclass(frozen=True)
class Preprocessing:
    """Steps on the recording, cutting of trials, steps on each trial, windows inside trials.

    Parameters
    ----------
    steps : sequence of Step
        What is done to the recording, in this order.
    trials : TrialCutter
        How the recording is cut into trials; one trial by default.
    trial_steps : sequence of Step
        What is done to each trial; ``Scale`` here scales per trial.
    windows : SlidingWindows, optional
        How a trial is cut into windows; without it a trial is one window, and shorter ones are padded with NaN.
    scale_by : str, optional
        A level such as ``"patient"``: after all files are read, each channel is robust-scaled (median, interquartile
        range) over all windows of one id of that level. It needs no labels, only the unlabelled windows of that id.

    Examples
    --------
    >>> from tscl.data.preprocessing import BandPass, FixedTrials, Scale
    >>> ad = Preprocessing(
    ...     steps=[BandPass(0.5, 45.0)], trials=FixedTrials(5.0), trial_steps=[Scale()],
    ...     windows=SlidingWindows(1.0, overlap=0.5),
    ... )
    """

    steps: Sequence[Step] = ()
    trials: TrialCutter = field(default_factory=WholeRecording)
    trial_steps: Sequence[Step] = ()
    windows: SlidingWindows | None = None
    scale_by: str | None = None

    def __call__(self, recording: Recording) -> Windows:
        """Return the windows of a recording (``scale_by`` is left to :func:`tscl.data.prepare.prepare`).

        Raises
        ------
        DataError
            When the recording holds infinite values or is too short, or a step cannot work on it.
        RecordingSkipped
            When the recipe leaves the recording out.
        """
        check_finite(recording)
        for step in self.steps:
            recording = step(recording)
        cut: list[Trial] = self.trials(recording)
        done = [self._trial(trial, self.trial_steps) for trial in cut]
        signals, labels, onsets = [], [], []
        for trial in done:
            windows, starts = (trial.data[None], [trial.time(0)]) if self.windows is None else self.windows(trial)
            if len(windows):
                signals.append(windows)
                labels.append(trial.labels)
                onsets.append(starts)
        if not signals:
            raise RecordingSkipped(f"{recording.source or recording.name}: every window overlaps a bad annotation.")
        return Windows(signals, done[0].channels, recording.ids, labels, onsets, recording.source)

    @staticmethod
    def _trial(trial: Trial, steps: Sequence[Callable[[Any], Any]]) -> Trial:
        for step in steps:
            trial = step(trial)
        return trial


def scale_within(signals: np.ndarray, codes: np.ndarray) -> None:
    """Robust-scale each channel over all windows of one code, in place.

    Parameters
    ----------
    signals : ndarray or memmap, shape (n, C, T), float32
    codes : ndarray, shape (n,), int64
        Dense ids of the level.
    """
    order = np.argsort(codes, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(codes))[:-1]):
        for channel in range(signals.shape[1]):
            values = signals[rows, channel]
            signals[rows, channel] = scale_rows(values.reshape(1, -1), "robust").reshape(values.shape)
