"""sktime's containers as windows x levels, and estimators ready to be fitted on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from tscl.data import WindowDataset
from tscl.data.readers import from_sktime
from tscl.errors import DataError
from tscl.estimators.ts2vec import TS2Vec


def whole_series(X: np.ndarray | pd.DataFrame) -> WindowDataset:
    """Make every series of a panel or a hierarchical frame one window.

    The index levels above the series are id levels. The last one before time tells the windows themselves apart, so it
    is none, unless it is called ``"trial"``.

    Parameters
    ----------
    X : numpy3D, pd-multiindex or pd_multiindex_hier

    Returns
    -------
    WindowDataset
    """
    data = from_sktime(X)
    levels: tuple[str, ...] = ()
    if isinstance(X, pd.DataFrame):
        levels = data.levels if X.index.names[-2] == "trial" else data.levels[:-1]
    return WindowDataset(data.signals, data.metadata, data.channels, levels)


def cut_windows(X: pd.DataFrame, length: int) -> WindowDataset:
    """Cut every series into windows; the last one ends with the series, and a shorter series is one window.

    Every index level but time is an id level, so windows of one series share their ids. A single series has none.
    Windows without any value are left out.

    Parameters
    ----------
    X : pd.DataFrame, pd-multiindex or pd_multiindex_hier
    length : int
        Number of time steps of a window.

    Returns
    -------
    WindowDataset

    Raises
    ------
    DataError
        When there is no value in ``X``.
    """
    data = from_sktime(X.to_numpy(dtype=np.float64).T[None] if is_single(X) else X)
    length = min(length, data.shape[2])
    lengths = [data.shape[2]] if is_single(X) else np.bincount(series_numbers(X))
    places = [
        (row, start)
        for row, n_times in enumerate(lengths)
        for start in [*range(0, max(n_times - length, 0), length), max(n_times - length, 0)]
    ]
    windows = np.stack([data.signals[row, :, start : start + length] for row, start in places])
    measured = ~np.isnan(windows).all(axis=(1, 2))
    if not measured.any():
        raise DataError(f"X, a frame of shape {X.shape}, has no value that is not missing: there is nothing to learn.")
    rows = np.array([row for row, _ in places])[measured]
    levels = () if is_single(X) else data.levels
    return WindowDataset(windows[measured], data.metadata.iloc[rows], data.channels, levels)


def is_single(X: pd.DataFrame) -> bool:
    """Tell whether a frame is one series, not a panel."""
    return not isinstance(X.index, pd.MultiIndex)


def series_numbers(X: pd.DataFrame) -> np.ndarray:
    """Return the number of the series that each row of a panel belongs to, in the order in which series appear."""
    return X.groupby(level=list(range(X.index.nlevels - 1)), sort=False).ngroup().to_numpy()


def fresh(estimator: Any, random_state: Any) -> Any:
    """Return an unfitted copy of an estimator, or of a small TS2Vec for None, seeded unless ``random_state`` is None."""
    copy = TS2Vec(dim=64, hidden=32, depth=6) if estimator is None else clone(estimator)
    if random_state is not None:
        for name in copy.get_params():
            if name.split("__")[-1] == "random_state":
                copy.set_params(**{name: random_state})
    return copy


def tiny(**params: Any) -> TS2Vec:
    """Return an estimator that fits in no time, for the conformance checks."""
    return TS2Vec(dim=4, hidden=4, depth=1, max_epochs=1, batch_size=32, accelerator="cpu", **params)
