"""What a forecaster sees at a time step: lags of the variables, embeddings, or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from torch import nn

from tscl.data import SeriesTask
from tscl.errors import ConfigError, DataError
from tscl.evaluation.series_embedding import embed_series


class PerVariable:
    """A table of features for each variable, computed when it is asked for.

    Parameters
    ----------
    n_variables : int
        How many.
    table : callable
        ``table(v)`` returns the features (T, p) of variable ``v``.
    """

    def __init__(self, n_variables: int, table: Callable[[int], np.ndarray]) -> None:
        self.n_variables = n_variables
        self.table = table

    def __len__(self) -> int:
        return self.n_variables

    def __getitem__(self, variable: int) -> np.ndarray:
        return self.table(variable)


Table: TypeAlias = np.ndarray | PerVariable
Features: TypeAlias = Callable[[SeriesTask], Table]
"""From a task to the features of all time steps, (T, p): those of step t computed from steps up to t, NaN where they
cannot be; or to a table for each variable."""


class Cached:
    """Features that are computed once for a task, however many horizons and forecasters ask for them.

    Parameters
    ----------
    features : callable
        What computes them.
    """

    def __init__(self, features: Features) -> None:
        self.features = features
        self._last: tuple[SeriesTask, Table] | None = None

    def __call__(self, task: SeriesTask) -> Table:
        """Return the features of ``task``."""
        if self._last is None or self._last[0] is not task:
            self._last = (task, _checked(self.features(task), task))
        return self._last[1]


def lag_features(n_lags: int = 200, centred: bool = False, per_variable: bool = True) -> Features:
    """Take the last values of the variables themselves.

    Parameters
    ----------
    n_lags : int
        How many, the value at the step itself included.
    centred : bool
        Subtract the value at the step itself from all of them: the ridge then sees shapes, not levels.
    per_variable : bool
        Every variable is forecast from its own lags alone. False: from the lags of all variables, which are
        ``n_lags`` times as many features as there are variables. The same thing for a univariate task.

    Returns
    -------
    callable
        From a task to tables (T, n_lags), oldest lag first; NaN where the series has not begun or a value is missing.

    Raises
    ------
    ConfigError
        When there is no lag to take.

    Examples
    --------
    >>> features = lag_features(200, centred=True)
    """
    if n_lags < 1:
        raise ConfigError(f"n_lags is {n_lags}: it must be 1 or more.")

    def table(row: np.ndarray) -> np.ndarray:
        padded = np.concatenate([np.full(n_lags - 1, np.nan, dtype=row.dtype), row])
        lags = np.lib.stride_tricks.sliding_window_view(padded, n_lags)
        return lags - lags[:, -1:] if centred else lags

    def features(task: SeriesTask) -> Table:
        values = task.x[: task.n_variables]
        if per_variable and len(values) > 1:
            return PerVariable(len(values), lambda variable: table(values[variable]))
        return np.concatenate([table(row) for row in values], axis=1)

    return features


def embedding_features(encoder: nn.Module, context: int = 200, **options: Any) -> Features:
    """Take the embedding of every step, computed from the ``context`` steps before it and the step itself.

    Parameters
    ----------
    encoder : nn.Module
        ``encoder(x (B, C, T)) -> (B, D, T')`` for the task's C rows, calendar features included.
    context : int
        Steps before.
    **options
        To :func:`tscl.evaluation.embed_series`.

    Returns
    -------
    callable
        From a task to the embeddings (T, D); they are computed once, also when several forecasters share them.
    """

    def features(task: SeriesTask) -> np.ndarray:
        return embed_series(encoder, task.x, context=context, **options)

    return Cached(features)


def beside(*features: Features, scales: Sequence[float] | None = None) -> Features:
    """Put features beside each other.

    Parameters
    ----------
    *features : callable
        Each from a task to a table (T, p), or a table for each variable.
    scales : sequence of float, optional
        What each is multiplied with: a ridge penalises the coefficients of a block the less the larger its values are.

    Returns
    -------
    callable
        From a task to a table with all columns; one for each variable where one of the features has that.

    Raises
    ------
    ConfigError
        When there is nothing to put beside each other, or not one scale a block.

    Examples
    --------
    >>> both = beside(lag_features(200, centred=True), lambda task: task.x[task.n_variables :].T)
    """
    if not features:
        raise ConfigError("there are no features to put beside each other: name one at least.")
    weights = [1.0] * len(features) if scales is None else list(scales)
    if len(weights) != len(features):
        raise ConfigError(f"{len(weights)} scales for {len(features)} features: give one each.")

    def join(task: SeriesTask) -> Table:
        tables = [_checked(one(task), task) for one in features]

        def joined(variable: int) -> np.ndarray:
            own = [table_of(table, variable) for table in tables]
            return np.concatenate([one * weight for one, weight in zip(own, weights, strict=True)], axis=1)

        if any(isinstance(table, PerVariable) for table in tables):
            return PerVariable(task.n_variables, joined)
        return joined(0)

    return join


def table_of(table: Table, variable: int) -> np.ndarray:
    """Return the features (T, p) that a variable is forecast from."""
    return table[variable] if isinstance(table, PerVariable) else table


def _checked(table: Table, task: SeriesTask) -> Table:
    if isinstance(table, PerVariable):
        if len(table) != task.n_variables:
            raise DataError(f"features of {len(table)} variables for a task of {task.n_variables}.")
    elif table.ndim != 2 or len(table) != task.x.shape[1]:
        raise DataError(
            f"features of shape {table.shape} for a series of {task.x.shape[1]} steps: they must be (steps, features)."
        )
    return table
