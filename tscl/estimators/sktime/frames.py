"""sktime's containers as windows x levels, and estimators ready to be fitted on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np
import pandas as pd
from sklearn.base import clone

from tscl.data import WindowDataset
from tscl.data.readers import from_sktime
from tscl.errors import DataError
from tscl.estimators.base import ContrastiveEstimator
from tscl.estimators.ts2vec import TS2Vec

TAGS: dict[str, Any] = {
    "authors": ["tscl developers"],
    "maintainers": ["tscl developers"],
    "python_dependencies": ["torch", "lightning"],
    "capability:multivariate": True,
    "capability:unequal_length": True,
    "capability:missing_values": True,
    "capability:categorical_in_X": False,
    "capability:random_state": True,
    "property:randomness": "derandomized",
}
"""What all of our estimators tell sktime of themselves."""


def whole_series(X: np.ndarray | pd.DataFrame) -> WindowDataset:
    """Make every series one window.

    The index levels above the series are id levels. The last one before time tells the windows themselves apart, so it
    is none, unless it is called ``"trial"``.

    Parameters
    ----------
    X : numpy3D, pd-multiindex, pd_multiindex_hier, or pd.DataFrame for a single series

    Returns
    -------
    WindowDataset
    """
    data = _read(X)
    levels: tuple[str, ...] = ()
    if is_panel(X):
        levels = data.levels if X.index.names[-2] == "trial" else data.levels[:-1]
    return WindowDataset(data.signals, data.metadata, data.channels, levels)


def cut_windows(X: pd.DataFrame, length: int) -> WindowDataset:
    """Cut every series into windows; the last one ends with the series, and a shorter series is one window.

    Every index level but time is an id level, so windows of one series share their ids. A single series has none.
    Windows without any value are left out.

    Parameters
    ----------
    X : pd-multiindex, pd_multiindex_hier, or pd.DataFrame for a single series
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
    data = _read(X)
    length = min(length, data.shape[2])
    places = [
        (row, start)
        for row, n_times in enumerate(_lengths(X))
        for start in [*range(0, max(n_times - length, 0), length), max(n_times - length, 0)]
    ]
    windows = np.stack([data.signals[row, :, start : start + length] for row, start in places])
    measured = ~np.isnan(windows).all(axis=(1, 2))
    if not measured.any():
        raise DataError(f"X, a frame of shape {X.shape}, holds missing values only: there is nothing to learn from.")
    rows = np.array([row for row, _ in places])[measured]
    return WindowDataset(windows[measured], data.metadata.iloc[rows], data.channels, data.levels if is_panel(X) else ())


def embed_each(embed: Callable[[np.ndarray], np.ndarray], X: np.ndarray | pd.DataFrame) -> list[np.ndarray]:
    """Embed every series in its own length, so that no embedding depends on the other series of a panel.

    Parameters
    ----------
    embed : callable
        From signals (n, C, T) to embeddings (n, ...): an estimator's ``transform`` or ``encode``.
    X : as in :func:`whole_series`

    Returns
    -------
    list of ndarray
        The embedding of every series, in the order in which series appear.
    """
    signals, lengths = _read(X).numpy(), _lengths(X)
    embedded: dict[int, np.ndarray] = {}
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        embedded.update(zip(rows.tolist(), embed(signals[rows, :, :length]), strict=True))
    return [embedded[row] for row in range(len(lengths))]


def is_panel(X: np.ndarray | pd.DataFrame) -> TypeGuard[pd.DataFrame]:
    """Tell whether a container is a frame of several series, with their ids in its index."""
    return isinstance(X, pd.DataFrame) and isinstance(X.index, pd.MultiIndex)


def series_numbers(X: pd.DataFrame) -> np.ndarray:
    """Return the number of the series that each row belongs to, in the order in which series appear."""
    if not is_panel(X):
        return np.zeros(len(X), dtype=np.int64)
    return X.groupby(level=list(range(X.index.nlevels - 1)), sort=False).ngroup().to_numpy()


def series_index(X: np.ndarray | pd.DataFrame) -> pd.Index:
    """Return the ids of the series of a panel, in the order in which series appear."""
    index = X.index if isinstance(X, pd.DataFrame) else None
    return index.droplevel(-1).unique() if isinstance(index, pd.MultiIndex) else pd.RangeIndex(len(X))


def _read(X: np.ndarray | pd.DataFrame) -> WindowDataset:
    if isinstance(X, pd.DataFrame) and not is_panel(X):
        return from_sktime(X.to_numpy(dtype=np.float64).T[None])
    return from_sktime(X)


def _lengths(X: np.ndarray | pd.DataFrame) -> np.ndarray:
    return np.bincount(series_numbers(X)) if isinstance(X, pd.DataFrame) else np.full(len(X), X.shape[2])


def fitted(estimator: ContrastiveEstimator | None, random_state: Any, windows: WindowDataset) -> ContrastiveEstimator:
    """Return a copy of an estimator, or a small TS2Vec for None, fitted on windows."""
    copy = fresh(TS2Vec(dim=64, hidden=32, depth=6) if estimator is None else estimator, random_state)
    return copy.fit(windows, None)


def fresh(estimator: Any, random_state: Any) -> Any:
    """Return an unfitted copy of an estimator, seeded unless ``random_state`` is None."""
    copy = clone(estimator)
    if random_state is not None:
        for name in copy.get_params():
            if name.split("__")[-1] == "random_state":
                copy.set_params(**{name: random_state})
    return copy


def tiny(**params: Any) -> TS2Vec:
    """Return an estimator that fits in no time, for the conformance checks."""
    return TS2Vec(dim=4, hidden=4, depth=1, max_epochs=1, batch_size=32, accelerator="cpu", **params)
