"""Tables of words: tab-separated text, and Praat's TextGrid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tscl.errors import DataError, DataNotFoundError

SILENCES = frozenset({"", "sil", "sp", "<eps>"})
_TEXTGRID = re.compile(r'"((?:[^"]|"")*)"|(?<![\[\w.])(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)')


def read_text_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a ``.tsv`` with every cell as text, NaN where it is empty or ``n/a``.

    Raises
    ------
    DataNotFoundError
        When there is no such file.
    DataError
        When it cannot be read or lacks one of ``columns``.
    """
    if not path.is_file():
        raise DataNotFoundError(f"the table {path} does not exist: put it beside its recording or sound file.")
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, na_values=["n/a", ""])
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} cannot be read as a table ({error}): save it as tab-separated UTF-8.") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"{path} has no columns {missing}, it has {list(table.columns)}: add or name them.")
    return table


def seconds(table: pd.DataFrame, column: str, path: Path, missing: float | None = None) -> pd.Series:
    """Return a column of times as float, s; a missing one becomes ``missing``.

    Raises
    ------
    DataError
        When a cell is no number, or is missing while ``missing`` is None.
    """
    times = pd.to_numeric(table[column], errors="coerce").astype(float)
    wrong = times.isna() & (table[column].notna() | (missing is None))
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        said = table[column].iloc[row]
        raise DataError(f"{path}: row {row} of the column {column!r} is {said!r}: give a number of seconds.")
    return times if missing is None else times.fillna(missing)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as dictionaries, None where a cell is missing."""
    rows = table.astype(object).where(table.notna(), None).itertuples(index=False, name=None)
    return [dict(zip(map(str, table.columns), row, strict=True)) for row in rows]


def read_textgrid(path: Path) -> list[dict[str, Any]]:
    """Read the words of a Praat ``.TextGrid``, as forced aligners write it: the interval tier ``words`` or ``word``.

    Parameters
    ----------
    path : Path
        Long or short text format, UTF-8 or UTF-16.

    Returns
    -------
    list of dict
        ``onset`` and ``duration`` (s), ``word``; silences are left out.

    Raises
    ------
    DataError
        When it is damaged or has no such tier.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8 or UTF-16 ({error}): save it again from Praat.") from error
    found = [(m[1] is not None, m[1] if m[1] is not None else m[2]) for m in _TEXTGRID.finditer(text)]
    words = []
    for i in range(len(found) - 1):
        if found[i] == (True, "IntervalTier") and found[i + 1][1].lower() in ("words", "word"):
            try:
                count = int(found[i + 4][1])
                for k in range(i + 5, i + 5 + 3 * count, 3):
                    begin, end, word = float(found[k][1]), float(found[k + 1][1]), found[k + 2][1].strip()
                    if word.lower() not in SILENCES:
                        words.append({"onset": begin, "duration": end - begin, "word": word.replace('""', '"')})
            except (IndexError, ValueError) as error:
                raise DataError(f"{path}: its tier of words is damaged: save it again from Praat.") from error
            return words
    raise DataError(f"{path} has no interval tier 'words': name the tier of the words so.")


def sound_words(sound: Path) -> list[dict[str, Any]] | None:
    """Read the words of a sound file from the ``.tsv`` or ``.TextGrid`` of the same stem beside it.

    Parameters
    ----------
    sound : Path
        The sound file.

    Returns
    -------
    list of dict, or None
        ``onset`` and ``duration`` (s in the sound), ``word``, ``sequence``, the last two None where missing; None when
        there is neither file.

    Raises
    ------
    DataError
        When the file is damaged or lacks a column.
    """
    path = sound.with_suffix(".tsv")
    if path.is_file():
        table = read_text_table(path, ["onset", "duration", "word"]).reindex(
            columns=["onset", "duration", "word", "sequence"]
        )
        table = table.assign(
            onset=seconds(table, "onset", path), duration=seconds(table, "duration", path, missing=0.0)
        )
        return records(table)
    path = sound.with_suffix(".TextGrid")
    return [{**row, "sequence": None} for row in read_textgrid(path)] if path.is_file() else None
