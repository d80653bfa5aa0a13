"""Classical baselines: a few features a channel that a clinician knows, and logistic regression."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError
from tscl.evaluation.metrics import group_ids
from tscl.evaluation.probe import LinearProbe

logger = logging.getLogger(__name__)

BANDS: Mapping[str, tuple[float, float]] = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "low beta": (13.0, 20.0),
    "high beta": (20.0, 30.0),
    "gamma": (30.0, 45.0),
}


def fill_missing(X: np.ndarray) -> np.ndarray:
    """Replace NaN by the mean of the channel in that window, 0 where it has no value; (n, C, T) float64."""
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 3:
        raise DataError(f"windows have shape {X.shape}, expected (windows, channels, times).")
    missing = np.isnan(X)
    if not missing.any():
        return X
    count = np.maximum((~missing).sum(axis=2, keepdims=True), 1)
    return np.where(missing, np.where(missing, 0, X).sum(axis=2, keepdims=True) / count, X)


def band_powers(X: np.ndarray, sfreq: float, bands: Mapping[str, tuple[float, float]] = BANDS) -> np.ndarray:
    """Logarithmic power of each channel in each frequency band (Welch's method).

    Segments are two seconds long, or the whole window where that is shorter, and overlap by half. NaN is replaced by
    the channel's mean.

    Parameters
    ----------
    X : ndarray, shape (n, C, T)
        Windows.
    sfreq : float
        Sampling rate in Hz.
    bands : mapping of str to (float, float)
        Lower (included) and upper (excluded) edge in Hz. Default: delta 1-4, theta 4-8, alpha 8-13, low beta 13-20,
        high beta 20-30, gamma 30-45.

    Returns
    -------
    ndarray, shape (n, C * n_bands), float64
        log10 of the mean spectral density (unit squared per Hz), all bands of the first channel first; a constant
        channel gives -20.

    Raises
    ------
    DataError
        When a window is too short, or the sampling rate too low, for a band.
    """
    from scipy.signal import welch

    X = fill_missing(X)
    n_segment = min(X.shape[2], round(2 * sfreq))
    frequencies, density = welch(X, sfreq, nperseg=n_segment, axis=2)
    powers = []
    for name, (low, high) in bands.items():
        inside = (frequencies >= low) & (frequencies < high)
        if not inside.any() or high > sfreq / 2:
            raise DataError(
                f"windows of {X.shape[2]} steps at {sfreq:g} Hz cannot show the {name} band ({low:g}-{high:g} Hz): "
                "use longer windows or pass other bands."
            )
        powers.append(density[:, :, inside].mean(axis=2))
    return np.log10(np.maximum(np.stack(powers, axis=2), 1e-20)).reshape(len(X), -1)


def amplitude_features(X: np.ndarray) -> np.ndarray:
    """Amplitudes of each channel: maximum, minimum, peak to peak, mean, standard deviation, root mean square, mean |x|.

    Parameters
    ----------
    X : ndarray, shape (n, C, T)
        Windows, such as heartbeats; NaN is replaced by the channel's mean.

    Returns
    -------
    ndarray, shape (n, C * 7), float64
        In the unit of ``X``, all features of the first channel first.
    """
    X = fill_missing(X)
    high, low = X.max(axis=2), X.min(axis=2)
    root = np.sqrt(np.square(X).mean(axis=2))
    features = [high, low, high - low, X.mean(axis=2), X.std(axis=2), root, np.abs(X).mean(axis=2)]
    return np.stack(features, axis=2).reshape(len(X), -1)


class ClassicalBaseline:
    """Band powers or amplitudes of each channel, standardised, and logistic regression.

    Parameters
    ----------
    features : {"band_powers", "amplitudes"}
        :func:`band_powers` for EEG and MEG, :func:`amplitude_features` for ECG.
    median_over : str, optional
        A level, such as ``"patient"``: the features are those of the median window of each of its groups (with
        windows that are R-peak-centred beats, the patient's median beat), and the windows of a group share them.
    standardise_by : str, optional
        A level, such as ``"patient"``: the features are standardised within each of its ids. It uses no label, but all
        windows of a test patient: report it as calibration on unlabelled recordings of that patient.
    C, class_weight
        See :class:`tscl.evaluation.LinearProbe`.

    Raises
    ------
    ConfigError
        For unknown features.
    """

    def __init__(
        self,
        features: Literal["band_powers", "amplitudes"] = "band_powers",
        *,
        median_over: str | None = None,
        standardise_by: str | None = None,
        C: float | None = None,
        class_weight: Literal["balanced"] | None = None,
    ) -> None:
        if features not in ("band_powers", "amplitudes"):
            raise ConfigError(f"features is {features!r}: choose band_powers or amplitudes.")
        self.features = features
        self.median_over = median_over
        self.standardise_by = standardise_by
        self.C = C
        self.class_weight = class_weight

    def transform(self, data: WindowDataset) -> np.ndarray:
        """Return the features of every window, shape (n, n_features), float64."""
        features = self._features(data)
        if self.standardise_by is None:
            return features
        within = pd.DataFrame(features).groupby(group_ids(data, self.standardise_by))
        spread = within.transform("std", ddof=0).to_numpy()
        return (features - within.transform("mean").to_numpy()) / np.where(spread > 0, spread, 1.0)

    def _features(self, data: WindowDataset) -> np.ndarray:
        X = data.numpy()
        if self.median_over is None:
            return self._of(X, data.channels.sfreq)
        codes, _ = pd.factorize(group_ids(data, self.median_over))
        filled = fill_missing(X)
        medians = np.stack([np.median(filled[codes == code], axis=0) for code in range(codes.max() + 1)])
        return self._of(medians, data.channels.sfreq)[codes]

    def fit(self, train: WindowDataset, val: WindowDataset | None = None) -> ClassicalBaseline:
        """Fit on the labelled windows of ``train``; ``val``, or cross-validation over patients, chooses the penalty.

        Raises
        ------
        DataError
            When no training window has a label or all have the same.
        """
        if train.y is None:
            raise DataError("the training windows have no target column: choose one with with_target.")
        validation = None if val is None or val.y is None else (self.transform(val), val.y)
        self.probe_ = LinearProbe(self.C, class_weight=self.class_weight).fit(
            self.transform(train),
            train.y,
            n_classes=len(train.classes),
            groups=group_ids(train, train.subject_level),
            validation=validation,
        )
        return self

    def predict_proba(self, data: WindowDataset) -> np.ndarray:
        """Return class probabilities of all windows, shape (n, n_classes), float64."""
        return self.probe_.predict_proba(self.transform(data))

    def _of(self, X: np.ndarray, sfreq: float) -> np.ndarray:
        return band_powers(X, sfreq) if self.features == "band_powers" else amplitude_features(X)
