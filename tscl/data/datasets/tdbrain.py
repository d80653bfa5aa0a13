"""TDBrain: resting EEG of people with Parkinson's disease and healthy ones, as COMET used it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from tscl.data.datasets.base import Study, natural_order
from tscl.data.datasets.comet import is_processed, processed_sources
from tscl.data.preprocessing import CentredTrials, Preprocessing, Resample, Scale, SlidingWindows
from tscl.data.recording import Channels, Recording
from tscl.data.sources import Source
from tscl.errors import DataError, DataNotFoundError

RAW_SFREQ, SFREQ = 500.0, 256.0
ELECTRODES = (
    "Fp1",
    "Fp2",
    "F7",
    "F3",
    "Fz",
    "F4",
    "F8",
    "FC3",
    "FCz",
    "FC4",
    "T7",
    "C3",
    "Cz",
    "C4",
    "T8",
    "CP3",
    "CPz",
    "CP4",
    "P7",
    "P3",
    "Pz",
    "P4",
    "P8",
    "O1",
    "Oz",
    "O2",
)
OTHERS = {"VPVA": "eog", "VNVB": "eog", "HPHL": "eog", "HNHR": "eog", "Erbs": "ecg", "OrbOcc": "emg", "Mass": "emg"}
N_CHANNELS = len(ELECTRODES) + len(OTHERS)
INDICATIONS = {"HEALTHY": 0, "PARKINSON": 1}
PUBLISHED = {
    "train": tuple(str(i) for i in (*range(1, 18), *range(29, 46))),
    "val": tuple(str(i) for i in (*range(18, 22), *range(46, 50))),
    "test": tuple(str(i) for i in (*range(22, 26), *range(50, 54))),
}
PEOPLE = frozenset(number for part in PUBLISHED.values() for number in part)


def read_participants(path: Path) -> pd.DataFrame:
    """Number the healthy people and those with Parkinson's disease from 1, in the order of the table.

    People without indication, of the replication part, and repeated rows do not count (COMET, appendix C).

    Returns
    -------
    DataFrame
        Indexed by participant (``sub-...``), with ``number`` (text) and ``parkinson`` (0 or 1).

    Raises
    ------
    DataError
        When the table cannot be read or lacks a column.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=str)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} cannot be read as a table ({error}): fetch it again.") from error
    missing = [column for column in ("participants_ID", "indication") if column not in table.columns]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r}, it has {list(table.columns)}: fetch TDBRAIN_participants_V2.tsv."
        )
    table = table.dropna(subset=["participants_ID", "indication"])
    table = table.assign(
        participant=table["participants_ID"].str.strip(),
        parkinson=table["indication"].str.strip().str.upper().map(INDICATIONS),
    )
    table = table.drop_duplicates("participant").dropna(subset=["parkinson"])
    table = table.assign(number=[str(i + 1) for i in range(len(table))], parkinson=table["parkinson"].astype(int))
    return table.set_index("participant")[["number", "parkinson"]]


def read_tdbrain_csv(path: str) -> Recording:
    """Read one preprocessed recording: a column a channel (33 of them), 500 rows a second, uV.

    Raises
    ------
    DataError
        When it cannot be read, has another number of columns, or holds text.
    """
    try:
        table = pd.read_csv(path, dtype=np.float32)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read as numbers ({said}): fetch it again.") from error
    names = tuple(str(column).strip() for column in table.columns)
    if len(names) != N_CHANNELS:
        raise DataError(f"{path} has {len(names)} columns, a recording of TDBrain has {N_CHANNELS}: fetch it again.")
    kinds = {name.lower(): kind for name, kind in OTHERS.items()} | {name.lower(): "eeg" for name in ELECTRODES}
    types = tuple(kinds.get(name.lower(), "misc") for name in names)
    return Recording(table.to_numpy().T, Channels(names, types, "uV", RAW_SFREQ), source=path)


class TDBrain(Study):
    """TDBRAIN (van Dijk et al., Scientific Data 9, 2022): 25 people with Parkinson's disease and 25 healthy ones.

    33 channels, eyes closed, 500 to 256 Hz; pseudo-trials of 10 s from the middle of a recording outwards,
    standardised, each of nineteen half-overlapping windows of 1 s. Read from ``derivatives/sub-*/ses-*/eeg/*EC*.csv``
    with the table ``TDBRAIN_participants_V2.tsv``, or from the authors' processed layout (``Feature/``, ``Label/``),
    whichever is there. People are numbered as by the authors, from 1 among the healthy and those with Parkinson's
    disease.

    Parameters
    ----------
    target : str, default="parkinson"
        0 or 1.

    Examples
    --------
    >>> study = TDBrain()  # doctest: +SKIP
    >>> split = study.published_split(study.load("TDBrain", n_jobs=8))  # doctest: +SKIP
    """

    name: ClassVar[str] = "tdbrain"
    title: ClassVar[str] = "TDBrain: resting EEG of 50 people, Parkinson's disease or healthy, 33 channels"
    licence: ClassVar[str] = "CC BY 4.0, after registration"
    url: ClassVar[str] = "https://brainclinics.com/resources/"
    access: ClassVar[str] = (
        f"Register at {url} and fetch the preprocessed .csv files (derivatives/) with "
        f"TDBRAIN_participants_V2.tsv, or fetch "
        "COMET's processed Feature/ and Label/ folders by the links at https://github.com/DL4mHealth/COMET."
    )
    folders: ClassVar[tuple[str, ...]] = ("TDBrain", "TDBRAIN")
    patterns = (
        "derivatives/sub-*/ses-*/eeg/*.csv",
        "sub-*/ses-*/eeg/*.csv",
        "Feature/feature_*.npy",
    )
    targets: ClassVar[tuple[str, ...]] = ("parkinson",)
    published = PUBLISHED
    target = "parkinson"
    expected = {"patients": 50, "trials": 624, "windows": 11856}

    def sources(self, root: Path) -> list[Source]:
        """One source a recording with closed eyes of the 50 people, or one for the processed layout."""
        if is_processed(root):
            names = (*ELECTRODES, *OTHERS)
            return processed_sources(root, "parkinson", sfreq=SFREQ, kind="eeg", unit="uV", names=names, people=PEOPLE)
        base = root / "derivatives" if (root / "derivatives").is_dir() else root
        tables = [*base.glob("*participants*.tsv"), *root.glob("*participants*.tsv")]
        if not tables:
            raise DataNotFoundError(f"{base} has no TDBRAIN_participants_V2.tsv: fetch it with the recordings.")
        people = read_participants(tables[0])
        found = []
        for path in natural_order(base.glob("sub-*/ses-*/eeg/*EC*.csv")):
            participant = path.relative_to(base).parts[0]
            if participant not in people.index or people.loc[participant, "number"] not in PEOPLE:
                continue
            person = people.loc[participant].to_dict()
            labels = {"parkinson": person["parkinson"], "participant": participant}
            ids = {"patient": person["number"], "recording": path.stem}
            found.append(Source(str(path), ids, labels, reader=read_tdbrain_csv))
        if not found:
            raise DataError(
                f"{base} has no *EC*.csv of the people that {tables[0].name} names: fetch the eyes-closed recordings."
            )
        return found

    def preprocessing(self) -> Preprocessing:
        """Trials of 10 s from the middle outwards, standardised, half-overlapping windows of 1 s."""
        return Preprocessing(
            steps=[Resample(SFREQ)],
            trials=CentredTrials(10.0),
            trial_steps=[Scale("standard")],
            windows=SlidingWindows(1.0, overlap=0.5),
        )
