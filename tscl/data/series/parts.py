"""Which steps of a series are trained on, which choose the model, which judge it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import pandas as pd

from tscl.errors import ConfigError, DataError

ETT_DAYS = (360, 120, 120)
"""Twelve, four and four months of thirty days."""

RATIOS = "60/20/20"
"""The scheme of every series that has none of its own."""


@dataclass(frozen=True)
class Parts:
    """Three stretches of steps, one after the other without a gap, each half-open.

    Attributes
    ----------
    train, val, test : slice
        Steps that are fitted on, that choose, and that judge; ``start`` and ``stop`` are whole numbers.
    """

    train: slice
    val: slice
    test: slice

    @property
    def by_name(self) -> dict[str, slice]:
        """The parts by their names, in the order of time."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def sizes(self) -> dict[str, int]:
        """Number of steps of every part."""
        return {name: part.stop - part.start for name, part in self.by_name.items()}


def parts_of(n_steps: int, step: pd.Timedelta, scheme: str = RATIOS) -> Parts:
    """Part a series in the order of time.

    Parameters
    ----------
    n_steps : int
        Length of the series.
    step : Timedelta
        Time between two steps.
    scheme : str
        Shares of training, validation and test part, such as ``"60/20/20"``, in percent; or ``"ett"``: twelve, four
        and four months of thirty days (8,640, 2,880 and 2,880 hours), what comes after them is not used.

    Returns
    -------
    Parts

    Raises
    ------
    ConfigError
        For a scheme that is not known, or shares that do not sum to 100.
    DataError
        When the series is too short for the scheme.

    Examples
    --------
    >>> import pandas as pd
    >>> parts_of(17420, pd.Timedelta("1h"), "ett").sizes
    {'train': 8640, 'val': 2880, 'test': 2880}
    """
    bounds = _ett(n_steps, step) if scheme == "ett" else _shares(n_steps, scheme)
    first, second, last = bounds
    return Parts(slice(0, first), slice(first, second), slice(second, last))


def _ett(n_steps: int, step: pd.Timedelta) -> tuple[int, int, int]:
    day = pd.Timedelta("1D")
    if step > day or day % step:
        raise DataError(
            f"the scheme 'ett' needs a step that divides a day, the series has steps of {said(step)}: use "
            f"split={RATIOS!r}."
        )
    first, second, last = (sum(ETT_DAYS[: number + 1]) * (day // step) for number in range(3))
    if n_steps < last:
        raise DataError(
            f"the scheme 'ett' needs {last} steps of {said(step)} (20 months of 30 days), the series has {n_steps}: "
            f"use the whole file, or split={RATIOS!r}."
        )
    return first, second, last


def _shares(n_steps: int, scheme: str) -> tuple[int, int, int]:
    try:
        shares = [Fraction(share.strip()) for share in scheme.split("/")]
    except (ValueError, ZeroDivisionError):
        shares = []
    if len(shares) != 3:
        raise ConfigError(f"{scheme!r} is no scheme of parts: use 'ett', or three shares such as {RATIOS!r}.")
    if min(shares) <= 0 or sum(shares) != 100:
        raise ConfigError(
            f"the shares {scheme!r} sum to {float(sum(shares)):g}: give three shares above 0, in percent, that sum to "
            "100."
        )
    first, second = (int(n_steps * sum(shares[: number + 1]) / 100) for number in range(2))
    if not 0 < first < second < n_steps:
        raise DataError(f"{n_steps} steps are too few for the parts {scheme!r}: every part needs one at least.")
    return first, second, n_steps


def said(step: pd.Timedelta) -> str:
    """Write a step in the shortest words: ``"1h"``, ``"15min"``, ``"1D"``."""
    for unit in ("D", "h", "min", "s", "ms"):
        whole = pd.Timedelta(1, unit)
        if step >= whole and not step % whole:
            return f"{step // whole}{unit}"
    return str(step)
