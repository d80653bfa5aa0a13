"""The rows of a table, and where in the file each of them stands."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tscl.data.leakage import name_some
from tscl.errors import DataError, DataNotFoundError

SEPARATORS = (",", ";", "\t")


@dataclass(frozen=True, eq=False)
class Rows:
    """A table that can say where a row came from.

    Attributes
    ----------
    frame : DataFrame
        The date column and the others.
    numbers : ndarray, shape (rows,), int
        Line of every row in the file, counted from 1; position in a DataFrame, counted from 0.
    word : str
        ``"line"`` or ``"row"``.
    source : str
        The file.
    """

    frame: pd.DataFrame
    numbers: np.ndarray
    word: str
    source: str

    def at(self, row: int) -> str:
        """Say where a row is: ``"line 17"``."""
        return f"{self.word} {self.numbers[row]}"


def read_rows(path: str | Path | pd.DataFrame, date: str) -> Rows:
    """Read a text table, or take a DataFrame, and see that it has the column ``date``."""
    if isinstance(path, pd.DataFrame):
        frame: pd.DataFrame = path.set_axis([str(name) for name in path.columns], axis=1)
        if isinstance(frame.index, pd.DatetimeIndex) and date not in frame.columns:
            frame = frame.assign(**{date: frame.index})
        rows = Rows(frame.reset_index(drop=True), np.arange(len(frame)), "row", "the DataFrame")
    else:
        frame = _read_text(Path(path))
        numbers = np.arange(len(frame)) + 2
        full = frame.notna().any(axis=1).to_numpy()
        rows = Rows(frame[full].reset_index(drop=True), numbers[full], "line", str(path))
    twice = rows.frame.columns[rows.frame.columns.duplicated()]
    if len(twice):
        raise DataError(f"{rows.source}: several columns are called {twice[0]!r}: give every column a name of its own.")
    if date not in rows.frame.columns:
        raise DataError(
            f"{rows.source} has no date column {date!r}: name the one that holds the dates by date=, among "
            f"{name_some(list(rows.frame.columns))}{_headless(rows.frame)}."
        )
    if len(rows.frame) < 2:
        raise DataError(f"{rows.source} has {len(rows.frame)} rows: a series needs two time steps at least.")
    return rows


def _headless(frame: pd.DataFrame) -> str:
    """Say so where the names of the columns look like a row of values."""
    names = pd.Series([str(name) for name in frame.columns])
    return " (is the header line missing?)" if pd.to_numeric(names, errors="coerce").notna().sum() > 0 else ""


def _read_text(path: Path) -> pd.DataFrame:
    remedy = "a text table in UTF-8 with one header line, separated by commas, semicolons or tabs, is expected"
    if path.is_dir():
        files = sorted(one.name for one in path.glob("*.csv"))
        there = f"; it holds {name_some(files)}" if files else ""
        raise DataError(f"{path} is a folder: give the path of a file{there}.")
    try:
        separator, decimal = _dialect(path, remedy)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                decimal=decimal,
                encoding="utf-8-sig",
                skip_blank_lines=False,
                low_memory=False,
            )
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{path} does not exist: check the path.") from error
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is no table ({str(error).strip()}): {remedy}.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): check the file and its rights.") from error
    return frame.rename(columns=lambda name: str(name).strip())


def _dialect(path: Path, remedy: str) -> tuple[str, str]:
    """Return separator and decimal point, and refuse lines with more or fewer cells than the header."""
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
        separator = max(SEPARATORS, key=header.count)
        cells = header.count(separator) + 1
        if cells < 2:
            raise DataError(f"{path} is no table (its first line is {header.strip()[:40]!r}): {remedy}.")
        commas = 0
        for number, line in enumerate(file, 2):
            found = line.count(separator) + 1
            if found != cells and line.strip() and '"' not in line and '"' not in header:
                raise DataError(
                    f"{path}: line {number} has {found} cells, the header has {cells}: complete the line, or fetch the "
                    "file again if it was cut off."
                )
            commas += line.count(",")
    return separator, "," if separator != "," and commas else "."
