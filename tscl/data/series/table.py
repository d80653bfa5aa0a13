"""From a table with a date column to a regular series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from tscl.data.leakage import name_some
from tscl.data.series.parts import said
from tscl.data.series.rows import Rows, read_rows
from tscl.data.series.stamps import parse_stamps, regular_step, to_grid
from tscl.errors import ConfigError, DataError


@dataclass(frozen=True, eq=False)
class Series:
    """Variables over regular time.

    Attributes
    ----------
    values : ndarray, shape (V, T), float64
        In the file's units; NaN where a value is missing.
    times : DatetimeIndex, length T
        Increasing and regular, without a time zone.
    names : tuple of str
        Names of the V variables.
    step : Timedelta
        Time between two steps.
    labels : ndarray or None, shape (T,), bool
        Which steps are anomalies, where a label column was named.
    source : str
        The file.
    """

    values: np.ndarray
    times: pd.DatetimeIndex
    names: tuple[str, ...]
    step: pd.Timedelta
    labels: np.ndarray | None
    source: str

    def __len__(self) -> int:
        return len(self.times)

    def __repr__(self) -> str:
        span = f"{self.times[0]} to {self.times[-1]}"
        return f"Series({len(self.names)} variables, {len(self)} steps of {said(self.step)}, {span}; {self.source})"


def read_series(
    path: str | Path | pd.DataFrame,
    *,
    columns: Sequence[str] | None = None,
    date: str = "date",
    label: str | None = None,
    regularise: Literal["nan", "interpolate"] | None = None,
) -> Series:
    """Read a table with one row a time step and a date column.

    Parameters
    ----------
    path : str, Path or DataFrame
        A text file with a header line, separated by commas, semicolons (then also with decimal commas) or tabs; or a
        DataFrame, whose index may be the dates.
    columns : sequence of str, optional
        The variables; by default every column but date and label.
    date : str
        The date column. Stamps with a time zone are taken in UTC. Dates such as 1/2/2010 are read month first, unless
        only day first makes them regular.
    label : str, optional
        Column that is 1 (or true) where a step is an anomaly and 0 elsewhere.
    regularise : {"nan", "interpolate"} or None
        What is done with unsorted, repeated or missing stamps. None refuses them. Otherwise rows are sorted, identical
        rows are taken once, and missing steps are inserted: as NaN, or on the line between the values around them (what
        is missing in the file itself stays NaN). Inserted steps are no anomalies. What was done is logged.

    Returns
    -------
    Series

    Raises
    ------
    DataNotFoundError
        When there is no such file.
    DataError
        When the file is no table; a column is absent, not numeric, infinite or empty; dates do not parse; stamps are
        unsorted, repeated or irregular and ``regularise`` does not mend them.
    ConfigError
        For another ``regularise``.

    Examples
    --------
    >>> import pandas as pd
    >>> times = pd.date_range("2020-01-01", periods=3, freq="1h")
    >>> read_series(pd.DataFrame({"load": [1.0, 2.0, 4.0]}, index=times)).values
    array([[1., 2., 4.]])
    """
    if regularise not in (None, "nan", "interpolate"):
        raise ConfigError(f"regularise={regularise!r} is not known: use 'nan', 'interpolate', or None to refuse.")
    rows = read_rows(path, date)
    names = _choose(rows, columns, date, label)
    times = parse_stamps(rows, date)
    values = np.stack([_numbers(rows, name) for name in names])
    labels = None if label is None else _labels(rows, label)
    if regularise is None:
        step = regular_step(rows, times)
    else:
        times, step, values, labels = to_grid(rows, times, values, labels, interpolate=regularise == "interpolate")
    return Series(values, times, names, step, labels, rows.source)


def _choose(rows: Rows, columns: Sequence[str] | None, date: str, label: str | None) -> tuple[str, ...]:
    there = [name for name in rows.frame.columns if name != date]
    wanted = [name for name in there if name != label] if columns is None else list(columns)
    if isinstance(columns, str):
        raise ConfigError(f"columns={columns!r} is one name: give a list, columns=[{columns!r}].")
    for name in [*wanted, *([] if label is None else [label])]:
        if name not in there:
            what = "is the date column" if name == date else "is not in the file"
            raise DataError(f"{rows.source}: the column {name!r} {what}: choose among {name_some(there)}.")
    if label in wanted:
        raise DataError(f"{rows.source}: the column {label!r} cannot be a variable and the label: name two columns.")
    if not wanted:
        raise DataError(
            f"{rows.source}: there is no column beside {date!r}{'' if label is None else ' and the label'}."
        )
    return tuple(wanted)


def _numbers(rows: Rows, name: str) -> np.ndarray:
    """Return a column as numbers, shape (rows,), float64."""
    column = rows.frame[name]
    numeric = column if pd.api.types.is_numeric_dtype(column) else column.astype("string")
    values = pd.to_numeric(numeric, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(np.isnan(values) & column.notna().to_numpy())
    if len(bad):
        raise DataError(
            f"{rows.source}: the column {name!r} holds {str(column.iloc[bad[0]])!r} in {rows.at(bad[0])}"
            f"{_and_more(len(bad))}, which is no number: correct or empty the cell, or leave the column out."
        )
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise DataError(
            f"{rows.source}: the column {name!r} is infinite in {rows.at(infinite[0])}{_and_more(len(infinite))}: "
            "leave the cells empty where there is no value."
        )
    if np.isnan(values).all():
        raise DataError(f"{rows.source}: the column {name!r} holds no value at all: leave the column out.")
    return values


def _labels(rows: Rows, name: str) -> np.ndarray:
    """Return the label column, shape (rows,), bool."""
    column = rows.frame[name]
    text = column.astype("string").str.strip().str.lower().replace({"true": "1", "false": "0"})
    values = pd.to_numeric(text, errors="coerce")
    bad = np.flatnonzero(~values.isin([0, 1]).to_numpy())
    if len(bad):
        raise DataError(
            f"{rows.source}: the label column {name!r} holds {str(column.iloc[bad[0]])!r} in {rows.at(bad[0])}"
            f"{_and_more(len(bad))}: a label is 1 where the step is an anomaly and 0 elsewhere."
        )
    return values.eq(1).to_numpy(dtype=bool)


def _and_more(n: int) -> str:
    return f" (and {n - 1} more)" if n > 1 else ""


def missing_stretches(values: np.ndarray, at_least: int = 1) -> list[tuple[int, int]]:
    """Return where a variable is missing for ``at_least`` steps in a row.

    Parameters
    ----------
    values : ndarray, shape (T,)
    at_least : int

    Returns
    -------
    list of (start, stop)
        Half-open, in the order of time.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.isnan(values).astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a >= at_least]
