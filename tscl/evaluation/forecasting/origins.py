"""From where forecasts start, and what they are to hit."""

from __future__ import annotations

from typing import Any

import numpy as np


def origins_of(part: slice, horizon: int, skip: int = 0) -> np.ndarray:
    """Return the steps t of a part, without its first ``skip``, whose targets t + 1 to t + horizon lie in the part.

    Parameters
    ----------
    part : slice
    horizon : int
    skip : int

    Returns
    -------
    ndarray, shape (n,), int64
        In the order of time; empty where the part is too short.
    """
    return np.arange(part.start + skip, part.stop - horizon, dtype=np.int64)


def with_targets(values: np.ndarray, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Return which origins have all of their targets.

    Parameters
    ----------
    values : ndarray, shape (V, T)
    origins : ndarray, shape (n,), int64
        Each at most T - 1 - ``horizon``.
    horizon : int

    Returns
    -------
    ndarray, shape (n,), bool
    """
    missing = np.concatenate([[0], np.cumsum(np.isnan(values).any(axis=0))])
    return missing[origins + horizon + 1] == missing[origins + 1]


class Targets:
    """The values that follow the origins, as a table (n, horizon * V) whose columns are gathered when asked for.

    Column ``h * V + v`` is variable ``v`` at ``h + 1`` steps after the origin.

    Parameters
    ----------
    values : ndarray, shape (V, T)
    origins : ndarray, shape (n,), int64
    horizon : int
    centred : bool
        Take the difference from the value at the origin.
    """

    def __init__(self, values: np.ndarray, origins: np.ndarray, horizon: int, centred: bool = False) -> None:
        self.values = values
        self.origins = origins
        self.horizon = horizon
        self.centred = centred

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.origins), self.horizon * len(self.values)

    def __getitem__(self, key: Any) -> np.ndarray:
        step, variable = np.divmod(np.arange(self.shape[1])[key[1]], len(self.values))
        rows = self.origins[key[0]][:, None]
        found = self.values[variable, rows + 1 + step]
        return found - self.values[variable, rows] if self.centred else found
