"""What the clock and the calendar say about a time stamp."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tscl.errors import ConfigError

CALENDAR = ("minute", "hour", "weekday", "day", "day_of_year", "month", "week")
"""Names of the calendar features, in their order."""


def calendar_features(times: pd.DatetimeIndex) -> np.ndarray:
    """Return the seven calendar features that TS2Vec, CoST and AutoTCL give to an encoder beside the variables.

    Parameters
    ----------
    times : DatetimeIndex, length T

    Returns
    -------
    ndarray, shape (7, T), float64
        Minute (0 to 59), hour (0 to 23), weekday (0, Monday, to 6), day of the month (from 1), day of the year (from
        1), month (from 1) and ISO week (from 1); not standardised.

    Examples
    --------
    >>> import pandas as pd
    >>> calendar_features(pd.DatetimeIndex(["2016-07-01 13:45"])).ravel().astype(int).tolist()
    [45, 13, 4, 1, 183, 7, 26]
    """
    week = times.isocalendar().week.to_numpy()
    rows = [times.minute, times.hour, times.weekday, times.day, times.dayofyear, times.month, week]
    return np.stack([np.asarray(row, dtype=np.float64) for row in rows])


def level_differences(values: np.ndarray, spans: Sequence[int]) -> np.ndarray:
    """Return how far a series is from its own recent level, at several time scales.

    Parameters
    ----------
    values : ndarray, shape (V, T), float
        NaN marks missing values, which are left out of the means.
    spans : sequence of int
        Steps of the moving averages. An average is over a step and those before it, as many as there are; nothing of
        the future is in it.

    Returns
    -------
    ndarray, shape (len(spans) * V, T), float64
        The values minus their averages over the first span, over the second, and so on.

    Raises
    ------
    ConfigError
        When a span is shorter than 2 steps.

    Examples
    --------
    >>> import numpy as np
    >>> level_differences(np.array([[1.0, 3.0, 5.0]]), [2])
    array([[0., 1., 1.]])
    """
    if any(span < 2 for span in spans):
        raise ConfigError(f"the spans of moving averages are {list(spans)}: each must be 2 steps or more.")
    known = np.isfinite(values)
    sums = np.cumsum(np.where(known, values, 0.0), axis=1, dtype=np.float64)
    counts = np.cumsum(known, axis=1)
    differences = [values - _last(sums, span) / np.maximum(_last(counts, span), 1) for span in spans]
    return np.concatenate(differences) if differences else np.empty((0, values.shape[1]))


def _last(running: np.ndarray, span: int) -> np.ndarray:
    """Return what the last ``span`` steps add to a running total."""
    before = np.zeros_like(running)
    before[:, span:] = running[:, :-span]
    return running - before
