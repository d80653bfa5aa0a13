"""sktime's panels and hierarchical frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tscl.data.readers.arrays import from_numpy, pad_stack
from tscl.data.windows import WindowDataset
from tscl.errors import DataError


def _level_ids(index: pd.MultiIndex) -> dict[str, np.ndarray]:
    """Level ids of every series; an id that stands under several parents is joined with its parent's."""
    n_levels = index.nlevels
    default = ["trial"] if n_levels == 1 else [f"level{i}" for i in range(n_levels)]
    names = [str(name) if name is not None else default[i] for i, name in enumerate(index.names)]
    ids: dict[str, np.ndarray] = {}
    parent: np.ndarray | None = None
    for position, name in enumerate(names):
        values = index.get_level_values(position).astype(str).to_numpy().astype(object)
        if parent is not None:
            pairs = pd.DataFrame({"parent": parent, "value": values}).drop_duplicates()
            if pairs["value"].duplicated().any():
                values = np.array(
                    [f"{above}/{value}" for above, value in zip(parent, values, strict=True)], dtype=object
                )
        ids[name] = parent = values
    return ids


def _from_multiindex(X: pd.DataFrame) -> tuple[list[np.ndarray], dict[str, np.ndarray], list[str]]:
    above = list(range(X.index.nlevels - 1))
    frames = list(X.groupby(level=above if len(above) > 1 else 0, sort=False))
    series = [frame.to_numpy(dtype=np.float64).T for _, frame in frames]
    keys = [key if isinstance(key, tuple) else (key,) for key, _ in frames]
    index = pd.MultiIndex.from_tuples(keys, names=X.index.names[:-1])
    return series, _level_ids(index), [str(column) for column in X.columns]


def _from_nested(X: pd.DataFrame) -> tuple[list[np.ndarray], dict[str, np.ndarray], list[str]]:
    series = []
    for label, row in X.iterrows():
        lengths = {len(cell) for cell in row}
        if len(lengths) != 1:
            raise DataError(
                f"instance {label!r}: its variables have {sorted(lengths)} time steps, expected equal lengths."
            )
        series.append(np.array([np.asarray(cell, dtype=np.float64) for cell in row]))
    name = str(X.index.name) if X.index.name is not None else "trial"
    return series, {name: X.index.astype(str).to_numpy()}, [str(column) for column in X.columns]


def from_sktime(
    X: np.ndarray | pd.DataFrame | Sequence[pd.DataFrame],
    y: Sequence[Any] | pd.Series | None = None,
    *,
    sfreq: float = 1.0,
    ch_types: str | Sequence[str] = "misc",
    unit: str = "a.u.",
    target: str = "label",
) -> WindowDataset:
    """Make a window data set of an sktime panel or hierarchical frame.

    Parameters
    ----------
    X : numpy3D, list of DataFrame, nested_univ, pd-multiindex or pd_multiindex_hier
        ``numpy3D`` is (n, C, T); in the frames every variable is a channel. The index levels of a multi-index frame but
        the last (time) become our levels, coarse to fine, by their names; ids that repeat under several parents are
        joined with the parent's (``"p1/0"``). Unequal lengths are padded with NaN.
    y : sequence or Series, length n, optional
        Labels, in the order in which the series first appear in ``X``.
    sfreq : float
        Sampling rate in Hz.
    ch_types, unit, target
        As in :func:`tscl.data.readers.from_numpy`.

    Returns
    -------
    WindowDataset

    Raises
    ------
    DataError
        When ``X`` is none of these types, or ``y`` has another length.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> index = pd.MultiIndex.from_product([["a", "b"], [0, 1], range(5)], names=["patient", "trial", "time"])
    >>> from_sktime(pd.DataFrame({"lead": np.arange(20.0)}, index=index)).levels
    ('patient', 'trial')
    """
    names: list[str] | None = None
    ids: dict[str, np.ndarray] | None = None
    data: Any = X
    if isinstance(X, pd.DataFrame):
        if isinstance(X.index, pd.MultiIndex):
            series, ids, names = _from_multiindex(X)
        elif X.size and all(isinstance(cell, (pd.Series, np.ndarray)) for cell in X.iloc[0]):
            series, ids, names = _from_nested(X)
        else:
            raise DataError(
                f"X is a single table of shape {X.shape}, expected a panel: cells that are series, or a "
                "(series, time) index."
            )
        data = pad_stack(series)
    elif isinstance(X, (list, tuple)) and all(isinstance(frame, pd.DataFrame) for frame in X):
        if X and any(list(frame.columns) != list(X[0].columns) for frame in X):
            raise DataError(
                "the frames of X have different variables: give all of them the same columns in the same order."
            )
        names = [str(column) for column in X[0].columns] if X else None
        data = pad_stack([frame.to_numpy(dtype=np.float64).T for frame in X])
    elif not isinstance(X, np.ndarray):
        raise DataError(f"X is a {type(X).__name__}: expected a numpy3D array, a list of frames, or a panel frame.")
    labels = None if y is None else np.asarray(y)
    return from_numpy(data, ids, labels, sfreq=sfreq, ch_names=names, ch_types=ch_types, unit=unit, target=target)
