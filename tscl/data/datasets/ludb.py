"""LUDB, the Lobachevsky University Electrocardiography Database: 12-lead ECG of 200 people with diagnoses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from tscl.data.datasets.base import Study, natural_order, yes_no
from tscl.data.datasets.leads import TWELVE_LEADS, as_number, read_leads
from tscl.data.preprocessing import BandPass, FixedTrials, PickChannels, Preprocessing, Resample, SlidingWindows
from tscl.data.sources import Source
from tscl.errors import DataError

COLUMNS = {
    "ID": "id",
    "Sex": "sex",
    "Age": "age",
    "Rhythms": "rhythm",
    "Electric axis of the heart": "axis",
    "Conduction abnormalities": "conduction",
    "Hypertrophies": "hypertrophies",
    "Cardiac pacing": "pacing",
    "Ischemia": "ischemia",
}


def read_table(path: Path) -> pd.DataFrame:
    """Read ``ludb.csv``: cells may hold several lines, each a finding, and end with a line break.

    Returns
    -------
    DataFrame
        One row a person, indexed by the record's number as text; columns as in ``COLUMNS``, findings in lower case and
        joined by ``"; "``, empty where there are none.

    Raises
    ------
    DataError
        When the table cannot be read, lacks a column, or names a record twice.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} cannot be read as a table ({error}): fetch the original ludb.csv.") from error
    table.columns = [str(column).strip() for column in table.columns]
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r}, it has {list(table.columns)}: fetch the original ludb.csv."
        )
    table = table[list(COLUMNS)].rename(columns=COLUMNS)
    for column in table.columns:
        lines = table[column].map(str.splitlines)
        table[column] = lines.map(lambda parts: "; ".join(part.strip() for part in parts if part.strip()))
    table = table[table["id"] != ""]
    twice = table["id"][table["id"].duplicated()].tolist()
    if twice:
        raise DataError(f"{path} lists record {twice[0]} twice: keep one row a record.")
    for column in ("rhythm", "axis", "conduction", "hypertrophies", "pacing", "ischemia"):
        table[column] = table[column].str.lower()
    table["axis"] = table["axis"].str.replace("electric axis of the heart: ", "", regex=False)
    return table.set_index("id")


def labels_of(row: dict[Any, str]) -> dict[str, Any]:
    """Return the label columns of one person; binary ones are 0 or 1."""
    hypertrophies = row["hypertrophies"]
    return {
        "ventricular_hypertrophy": yes_no("ventricular hypertrophy" in hypertrophies),
        "left_ventricular_hypertrophy": yes_no("left ventricular hypertrophy" in hypertrophies),
        "left_atrial_hypertrophy": yes_no("left atrial hypertrophy" in hypertrophies),
        "sinus_rhythm": yes_no("sinus" in row["rhythm"]),
        "atrial_fibrillation": yes_no("atrial fibrillation" in row["rhythm"]),
        "ischemia": yes_no(row["ischemia"]),
        "conduction_abnormality": yes_no(row["conduction"]),
        "paced": yes_no(row["pacing"]),
        "rhythm": row["rhythm"] or None,
        "axis": row["axis"] or None,
        "sex": row["sex"] or None,
        "age": as_number(row["age"]),
    }


class LUDB(Study):
    """Lobachevsky University Electrocardiography Database (Kalyakulina et al., IEEE Access 8, 2020).

    12 leads, 500 Hz, 10 s, one record of each of 200 people. By default 0.5 to 40 Hz at 125 Hz, in mV (amplitudes
    carry the signs of hypertrophy), two trials of 5 s, each of four half-overlapping windows of 2 s.

    Parameters
    ----------
    target : str, default="ventricular_hypertrophy"
        ``ventricular_hypertrophy`` (left or right), ``left_ventricular_hypertrophy``, ``left_atrial_hypertrophy``,
        ``sinus_rhythm``, ``atrial_fibrillation``, ``ischemia`` (or scar, or infarction), ``conduction_abnormality``,
        ``paced`` (0 or 1), ``rhythm``, ``axis``, ``sex`` (text). ``age`` (years) is a further label column.

    Examples
    --------
    >>> data = LUDB().load("ludb")  # doctest: +SKIP
    """

    name: ClassVar[str] = "ludb"
    title: ClassVar[str] = "LUDB: 12-lead ECG of 200 people, diagnoses and wave boundaries"
    licence: ClassVar[str] = "ODC-By 1.0"
    url: ClassVar[str] = "https://physionet.org/content/ludb/1.0.1/"
    files_url: ClassVar[str | None] = "https://physionet.org/files/ludb/1.0.1/"
    access: ClassVar[str] = f"It is open: load with download=True, or fetch it from {url}."
    patterns = ("ludb.csv",)
    targets: ClassVar[tuple[str, ...]] = (
        "ventricular_hypertrophy",
        "left_ventricular_hypertrophy",
        "left_atrial_hypertrophy",
        "sinus_rhythm",
        "atrial_fibrillation",
        "ischemia",
        "conduction_abnormality",
        "paced",
        "rhythm",
        "axis",
        "sex",
    )
    target = "ventricular_hypertrophy"
    expected = {"patients": 200, "recordings": 200, "trials": 400, "windows": 1600}

    def sources(self, root: Path) -> list[Source]:
        """One source a record of ``data/`` that the table describes."""
        table = read_table(root / "ludb.csv")
        headers = natural_order((root / "data").glob("*.hea"))
        if not headers:
            raise DataError(f"{root / 'data'} has no .hea files beside ludb.csv: fetch the records as well.")
        unknown = [path.name for path in headers if path.stem not in table.index]
        if unknown:
            raise DataError(f"{root / 'ludb.csv'} has no row for {unknown[0]}: fetch the original table.")
        return [
            Source(str(path), {"patient": path.stem}, labels_of(table.loc[path.stem].to_dict()), reader=read_leads)
            for path in headers
        ]

    def preprocessing(self) -> Preprocessing:
        """0.5 to 40 Hz at 125 Hz in mV, trials of 5 s, half-overlapping windows of 2 s."""
        return Preprocessing(
            steps=[PickChannels(TWELVE_LEADS), BandPass(0.5, 40.0), Resample(125.0)],
            trials=FixedTrials(5.0),
            windows=SlidingWindows(2.0, overlap=0.5),
        )
