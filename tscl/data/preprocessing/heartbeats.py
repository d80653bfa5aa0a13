"""Heartbeats: the segmentation of ECG records that COMET's appendix describes (Wang et al., NeurIPS 2023)."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from tscl.data.preprocessing.steps import Resample, bridge_gaps
from tscl.data.preprocessing.trials import RecordingSkipped, Trial, TrialCutter
from tscl.data.recording import Recording
from tscl.errors import ConfigError, DataError

logger = logging.getLogger("tscl")

TOLERANCE = 0.150
"""Seconds between neighbouring peaks of different leads up to which they belong to one beat."""


def lead_peaks(recording: Recording) -> list[np.ndarray]:
    """Find the R peaks of every lead with NeuroKit (``ecg_clean`` and ``ecg_peaks``, method "neurokit").

    Parameters
    ----------
    recording : Recording
        Leads are its channels.

    Returns
    -------
    list of ndarray of int64
        Time steps of the peaks of each lead in which at least three were found; other leads are left out.
    """
    import neurokit2 as nk

    filled, missing = bridge_gaps(recording.data)
    found = []
    for lead, gap in zip(filled, missing, strict=True):
        if gap.all() or np.ptp(lead) == 0:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                cleaned = nk.ecg_clean(lead, sampling_rate=int(recording.sfreq), method="neurokit")
                peaks = nk.ecg_peaks(cleaned, sampling_rate=int(recording.sfreq), method="neurokit")[1]["ECG_R_Peaks"]
        except Exception as error:
            logger.debug("%s: no R peaks in one lead (%s)", recording.name, error)
            continue
        peaks = np.asarray(peaks, dtype=float)
        peaks = np.sort(peaks[np.isfinite(peaks)]).astype(np.int64)
        if len(peaks) >= 3:
            found.append(peaks)
    return found


def median_interval(peaks: list[np.ndarray]) -> float:
    """Return the median R-R interval over leads and beats, outlying intervals (1.5 quartile ranges) removed."""
    intervals = np.concatenate([np.diff(lead) for lead in peaks])
    low, high = np.percentile(intervals, [25, 75])
    reach = 1.5 * (high - low)
    return float(np.median(intervals[(intervals >= low - reach) & (intervals <= high + reach)]))


def common_peaks(peaks: list[np.ndarray], tolerance: float) -> np.ndarray:
    """Join the peaks of all leads into beats.

    Peaks that follow each other by no more than ``tolerance`` time steps are one beat, at their median; a beat that
    fewer than half of the leads show is noise. (A table of the k-th peak of every lead, the obvious
    way, is wrong from the first peak on that one lead misses.)

    Parameters
    ----------
    peaks : list of ndarray of int64
        Time steps of the peaks of each lead.
    tolerance : float
        Time steps.

    Returns
    -------
    ndarray of int64
        Time step of every beat.

    Examples
    --------
    >>> import numpy as np
    >>> common_peaks([np.array([100, 300, 500]), np.array([104, 502]), np.array([102, 301, 499])], tolerance=37.5)
    array([102, 300, 500])
    """
    times = np.concatenate(peaks)
    leads = np.concatenate([np.full(len(lead), number) for number, lead in enumerate(peaks)])
    order = np.argsort(times, kind="stable")
    times, leads = times[order], leads[order]
    starts = np.flatnonzero(np.diff(times) > tolerance) + 1
    beats = [
        int(np.median(group))
        for group, members in zip(np.split(times, starts), np.split(leads, starts), strict=True)
        if len(set(members.tolist())) >= len(peaks) / 2
    ]
    return np.array(beats, dtype=np.int64)


@dataclass(frozen=True)
class HeartbeatTrials(TrialCutter):
    """Cut an ECG record into beats of a common length; adjacent beats make a trial.

    The record is resampled to ``sfreq``; R peaks are found in every lead; after removing outlying intervals, the median
    interval M over leads and beats is the beat length. A beat is its peak (median over leads) plus and minus M / 2,
    zero padded on both sides to ``length``; beats that reach beyond the record are left out. ``beats`` adjacent ones
    form a trial (C, beats * length): ``SlidingWindows(length / sfreq)`` then gives one beat a window. Standardise each
    lead before (``Scale()`` in ``steps``), so that the padding is at the mean. The label column ``peak_leads`` says in
    how many leads peaks were found.

    Parameters
    ----------
    sfreq : float
        Sampling rate of the beats in Hz.
    length : int
        Time steps of a padded beat. A record whose M exceeds it is left out (and listed as skipped).
    beats : int
        Beats of a trial.
    incomplete : {"drop", "keep"}
        What becomes of the last trial when fewer beats are left; short records need ``"keep"``.

    Examples
    --------
    >>> from tscl.data.preprocessing import Preprocessing, Resample, Scale, SlidingWindows
    >>> ptb = Preprocessing([Resample(250), Scale()], HeartbeatTrials(), windows=SlidingWindows(1.2))
    """

    sfreq: float = 250.0
    length: int = 300
    beats: int = 10
    incomplete: Literal["drop", "keep"] = "drop"

    def __post_init__(self) -> None:
        if self.incomplete not in ("drop", "keep"):
            raise ConfigError(f"HeartbeatTrials(incomplete={self.incomplete!r}): choose 'drop' or 'keep'.")
        if self.length < 2 or self.beats < 1:
            raise ConfigError("HeartbeatTrials: length must be at least 2 time steps and beats at least 1.")

    def __call__(self, recording: Recording) -> list[Trial]:
        """Return the trials, shape (C, beats * length).

        Raises
        ------
        RecordingSkipped
            When the median interval exceeds ``length``.
        DataError
            When no lead shows R peaks, or there are too few beats for a trial.
        """
        recording = Resample(self.sfreq)(recording)
        where = recording.source or recording.name
        found = lead_peaks(recording)
        n_leads = len(recording.channels)
        if not found:
            raise DataError(
                f"{where}: no R peaks in any of {n_leads} leads: leave the record out or check that it is ECG."
            )
        if len(found) < n_leads:
            logger.info("%s: R peaks found in %d of %d leads", where, len(found), n_leads)
        interval = round(median_interval(found))
        if interval > self.length:
            raise RecordingSkipped(
                f"{where}: the median R-R interval of {interval} time steps exceeds the beat length of {self.length}."
            )
        starts = common_peaks(found, TOLERANCE * self.sfreq) - interval // 2
        starts = starts[(starts >= 0) & (starts + interval <= recording.data.shape[1])]
        groups = [starts[i : i + self.beats] for i in range(0, len(starts), self.beats)]
        if groups and self.incomplete == "drop" and len(groups[-1]) < self.beats:
            groups.pop()
        if not groups:
            raise DataError(
                f"{where}: {len(starts)} whole beats, {self.beats} make a trial: leave the record out or set "
                "incomplete='keep'."
            )
        return [self._trial(recording, group, interval, len(found)) for group in groups]

    def _trial(self, recording: Recording, starts: np.ndarray, interval: int, n_leads: int) -> Trial:
        left = (self.length - interval) // 2
        data = np.zeros((len(recording.channels), len(starts) * self.length), dtype=np.float32)
        times = np.full(data.shape[1], np.nan)
        for number, start in enumerate(starts):
            place = slice(number * self.length + left, number * self.length + left + interval)
            data[:, place] = recording.data[:, start : start + interval]
            times[place] = np.arange(start, start + interval) / recording.sfreq
        values = {f.name: getattr(recording, f.name) for f in fields(Recording)}
        values |= {"data": data, "labels": {**recording.labels, "peak_leads": n_leads}}
        return Trial(**values, onset=float(starts[0] / recording.sfreq), times=times)
