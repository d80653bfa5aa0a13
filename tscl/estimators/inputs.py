"""Whatever users hold in their hands, as windows x levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from tscl.data import Channels, WindowDataset
from tscl.errors import ConfigError, DataError
from tscl.estimators.recordings import is_recording, recording_windows


def as_signals(X: Any) -> np.ndarray:
    """Return windows as one array.

    Parameters
    ----------
    X : ndarray or Tensor, shape (n, C, T) or (n, T), or list of n arrays of shape (C, T_i) or (T_i,)
        Windows; two dimensions mean one channel, unequal lengths are padded with NaN at the end.

    Returns
    -------
    ndarray, shape (n, C, T), float32

    Raises
    ------
    DataError
        For other shapes, no windows, unequal numbers of channels, or infinite values.
    """
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu().numpy()
    if isinstance(X, (list, tuple)):
        X = _pad(X)
    try:
        signals = np.asarray(X, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"X is a {type(X).__name__} that is no array of numbers: give (windows, channels, times)."
        ) from error
    if signals.ndim == 2:
        signals = signals[:, None]
    if signals.ndim != 3:
        raise DataError(
            f"X has shape {signals.shape}: expected (windows, channels, times), or (windows, times) for one channel. "
            "Reshape your data."
        )
    if 0 in signals.shape:
        raise DataError(f"X has shape {signals.shape}: there is nothing in it.")
    infinite = np.isinf(signals).any(axis=(1, 2))
    if infinite.any():
        raise DataError(
            f"X has infinite values in {infinite.sum()} windows, the first is window {infinite.argmax()}: "
            "replace them, or mark them as missing by NaN."
        )
    return signals


def _pad(series: Sequence[Any]) -> np.ndarray:
    arrays = [np.atleast_2d(np.asarray(one, dtype=np.float32)) for one in series]
    if not arrays:
        raise DataError("X is an empty list: there are no windows.")
    channels = {a.shape[0] for a in arrays}
    if any(a.ndim != 2 for a in arrays) or len(channels) > 1:
        raise DataError(
            f"the series have shapes {sorted({a.shape for a in arrays})[:5]}: every one must be (channels, times) "
            "with the same channels."
        )
    padded = np.full((len(arrays), channels.pop(), max(a.shape[1] for a in arrays)), np.nan, dtype=np.float32)
    for row, array in zip(padded, arrays, strict=True):
        row[:, : array.shape[1]] = array
    return padded


def as_windows(
    X: Any,
    y: Any = None,
    patient: Any = None,
    trial: Any = None,
    levels: Mapping[str, Any] | None = None,
    window: float | None = None,
) -> WindowDataset:
    """Return a :class:`WindowDataset` from signals and ids.

    Parameters
    ----------
    X : WindowDataset, recordings (:mod:`tscl.estimators.recordings`), or what :func:`as_signals` takes
        With a WindowDataset the ids are those it has.
    y : array of n labels, optional
        NaN or None where it is unknown. With a WindowDataset they take the place of its own.
    patient, trial : array of n ids, optional
    levels : mapping of str to array of n ids, optional
        Further levels.
    window : float, optional
        Seconds of the windows that recordings are cut into.

    Raises
    ------
    DataError
        When an array has not one value a window, or ids are missing (NaN).
    ConfigError
        When ids are passed beside a WindowDataset, or ``window`` with anything but recordings.
    """
    given = {"patient": patient, **(levels or {}), "trial": trial}
    ids = {name: value for name, value in given.items() if value is not None}
    if is_recording(X):
        return recording_windows(X, window, y, ids)
    if window is not None:
        raise ConfigError("window is for recordings (Raw, Epochs, a BIDS root): X is cut into windows already.")
    if isinstance(X, WindowDataset):
        if ids:
            raise ConfigError(f"X is a WindowDataset and brings its own ids: do not pass {sorted(ids)} beside it.")
        return X if y is None else with_labels(X, y)
    signals = as_signals(X)
    columns: dict[str, Any] = {}
    for name, value in {**ids, **({} if y is None else {"y": y})}.items():
        value = np.asarray(value)
        if value.shape != (len(signals),):
            raise DataError(f"{name} has shape {value.shape} for {len(signals)} windows: give one value a window.")
        if name in ids and pd.isna(value).any():
            raise DataError(f"{name} is missing for {int(pd.isna(value).sum())} windows: every window needs an id.")
        columns[name] = value
    channels = Channels.unnamed(signals.shape[1])
    metadata = pd.DataFrame(columns, index=range(len(signals)))
    return WindowDataset(signals, metadata, channels, tuple(ids), target=None if y is None else "y")


def with_labels(data: WindowDataset, y: Any) -> WindowDataset:
    """Return the windows with other labels.

    Raises
    ------
    DataError
        When there is not one label a window.
    """
    y = np.asarray(y)
    if y.shape != (len(data),):
        raise DataError(f"y has shape {y.shape} for {len(data)} windows: give one value a window.")
    return WindowDataset(
        data.signals, data.metadata.assign(y=y), data.channels, data.levels, target="y", rows=data.rows
    )
