"""Anomaly scores that need no encoder: what a learned one has to beat."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tscl.data import SeriesTask
from tscl.errors import ConfigError, DataError

CHUNK = 8192
"""Windows that are transformed at once."""


def difference_scores(task: SeriesTask) -> np.ndarray:
    """Score a step by how far the standardised variables jumped, their mean absolute first difference.

    Parameters
    ----------
    task : SeriesTask

    Returns
    -------
    ndarray, shape (T,), float64
        NaN at the first step and where no variable is known at both steps.
    """
    jumps = np.abs(np.diff(_variables(task), axis=1, prepend=np.nan))
    return _mean_known(jumps)


def ridge_residual_scores(task: SeriesTask, *, n_lags: int = 24, alpha: float = 1.0) -> np.ndarray:
    """Score a step by how badly a linear model of the steps before predicts it.

    One ridge regression from the last ``n_lags`` values of all variables to the next value of each, fitted on the
    training part.

    Parameters
    ----------
    task : SeriesTask
    n_lags : int
        Steps that the model looks back.
    alpha : float
        Ridge penalty.

    Returns
    -------
    ndarray, shape (T,), float64
        Mean absolute residual of the standardised variables; NaN in the first ``n_lags`` steps and where a lag or all
        values of the step are missing.

    Raises
    ------
    DataError
        When the training part has no complete row of lags and values.
    ConfigError
        For less than one lag, or a negative penalty.
    """
    if n_lags < 1 or alpha < 0:
        raise ConfigError(f"n_lags is {n_lags} and alpha {alpha}: give one lag at least, and a penalty of 0 or more.")
    x = _variables(task)
    if x.shape[1] <= n_lags:
        raise DataError(f"the series has {x.shape[1]} steps, not more than the {n_lags} lags: use fewer lags.")
    lags = sliding_window_view(x[:, :-1], n_lags, axis=1).transpose(1, 0, 2).reshape(x.shape[1] - n_lags, -1)
    values = x[:, n_lags:].T
    rows = slice(0, max(task.parts.train.stop - n_lags, 0))
    complete = ~(np.isnan(lags[rows]).any(axis=1) | np.isnan(values[rows]).any(axis=1))
    if not complete.any():
        raise DataError(
            f"{task.series.source}: the training part has no {n_lags + 1} steps in a row without a gap: use fewer "
            "lags, or interpolate."
        )
    A, B = lags[rows][complete], values[rows][complete]
    centre, level = A.mean(axis=0), B.mean(axis=0)
    A = A - centre
    weights = np.linalg.solve(A.T @ A + max(alpha, 1e-9) * np.eye(A.shape[1]), A.T @ (B - level))
    residuals = np.abs(values - level - (lags - centre) @ weights).T
    return np.concatenate([np.full(n_lags, np.nan), _mean_known(residuals)])


def spectral_residual_scores(task: SeriesTask, *, window: int = 64, smooth: int = 3) -> np.ndarray:
    """Score a step by its saliency: what the smooth part of the window's log spectrum does not explain.

    The spectral residual of Ren et al. (KDD 2019, section 3.1) of the window that ends at the step, without their
    network behind it and without the values that they append behind the last one.

    Parameters
    ----------
    task : SeriesTask
    window : int
        Steps of a window.
    smooth : int
        Frequencies over which the log spectrum is averaged, q of the paper.

    Returns
    -------
    ndarray, shape (T,), float64
        Mean saliency of the variables; NaN where no variable has a window without a gap.

    Raises
    ------
    ConfigError
        For a window shorter than the smoothing, or a smoothing below 1.
    DataError
        When the series is shorter than the window.
    """
    if not 1 <= smooth <= window:
        raise ConfigError(f"smooth is {smooth} and window {window}: give 1 <= smooth <= window.")
    x = _variables(task)
    if x.shape[1] < window:
        raise DataError(f"the series has {x.shape[1]} steps, fewer than the window of {window}: use a shorter window.")
    windows = sliding_window_view(x, window, axis=1)
    saliency = np.full(x.shape, np.nan)
    for start in range(0, windows.shape[1], CHUNK):
        part = windows[:, start : start + CHUNK]
        saliency[:, start + window - 1 : start + window - 1 + part.shape[1]] = _saliency(part, smooth)
    return _mean_known(saliency)


def _saliency(windows: np.ndarray, smooth: int) -> np.ndarray:
    """Return the saliency of the last step of windows (..., window), shape (...)."""
    spectrum = np.fft.fft(windows, axis=-1)
    amplitude = np.abs(spectrum)
    logarithm = np.log(amplitude + 1e-8)
    around = np.concatenate([logarithm[..., -(smooth // 2) :], logarithm], axis=-1) if smooth > 1 else logarithm
    around = np.concatenate([around, logarithm[..., : smooth - 1 - smooth // 2]], axis=-1)
    residual = np.exp(logarithm - sliding_window_view(around, smooth, axis=-1).mean(axis=-1))
    phase = spectrum / np.maximum(amplitude, 1e-8)
    return np.abs(np.fft.ifft(residual * phase, axis=-1)[..., -1])


def _variables(task: SeriesTask) -> np.ndarray:
    """Return the standardised variables without the calendar, (V, T) float64."""
    return task.x[: task.n_variables].astype(np.float64)


def _mean_known(values: np.ndarray) -> np.ndarray:
    """Average over variables that are known, (V, T) to (T,); NaN where none is."""
    known = (~np.isnan(values)).sum(axis=0)
    return np.nansum(values, axis=0) / np.where(known > 0, known, np.nan)
