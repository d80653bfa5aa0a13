"""EEG during mental arithmetic: 36 people, at rest and while subtracting numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from tscl.data.datasets.base import Study, natural_order
from tscl.data.preprocessing import FixedTrials, PickChannels, Preprocessing, Resample, Scale, SlidingWindows
from tscl.data.readers import read_mne
from tscl.data.recording import Recording
from tscl.data.sources import Source
from tscl.errors import ConfigError, DataError

ELECTRODES = (
    "Fp1",
    "Fp2",
    "F3",
    "F4",
    "F7",
    "F8",
    "T3",
    "T4",
    "C3",
    "C4",
    "T5",
    "T6",
    "P3",
    "P4",
    "O1",
    "O2",
    "Fz",
    "Cz",
    "Pz",
)
TASKS = {"1": "rest", "2": "arithmetic"}
FILE_NAME = re.compile(r"(Subject\d+)_([12])\.edf", re.IGNORECASE)


def read_table(path: Path) -> pd.DataFrame:
    """Read ``subject-info.csv``, indexed by subject, with the columns ``Age``, ``Gender`` and ``Count quality``.

    Raises
    ------
    DataError
        When it cannot be read or lacks a column.
    """
    try:
        table = pd.read_csv(path, sep=None, engine="python")
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path} cannot be read as a table ({error}): fetch the original subject-info.csv.") from error
    table.columns = [str(column).strip() for column in table.columns]
    missing = [column for column in ("Subject", "Age", "Gender", "Count quality") if column not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}, it has {list(table.columns)}: fetch the original table.")
    return table.assign(Subject=table["Subject"].astype(str).str.strip()).set_index("Subject")


def read_eegmat(path: str) -> Recording:
    """Read one EDF file with the positions of the standard 10-20 montage (mne renamed it in version 1.13)."""
    from mne.channels import get_builtin_montages

    montage = "colin27_1020" if "colin27_1020" in get_builtin_montages() else "standard_1020"
    return read_mne(path, montage=montage)


class EEGMat(Study):
    """EEG during mental arithmetic tasks (Zyma et al., Data 4, 2019).

    36 people, two recordings each: at rest (``_1``, three minutes) and subtracting numbers (``_2``, one minute); 19
    electrodes of the 10-20 system at 500 Hz, filtered and freed of artefacts by the authors. By default the first
    minute of each recording in the geometry of COMET's AD set: trials of 5 s, standardised, each of nine
    half-overlapping windows of 1 s. The A2-A1 and the ECG channel are left out.

    Parameters
    ----------
    target : str, default="task"
        ``task`` (``"rest"`` or ``"arithmetic"``, varies within a person), ``quality`` (``"good"`` or ``"bad"`` counter,
        a trait of the person) or ``sex``. ``age`` (years) is a further label column.
    sfreq : float, default=128
        Sampling rate of the windows, Hz.

    Examples
    --------
    >>> data = EEGMat(target="quality").load("eegmat")  # doctest: +SKIP
    """

    name: ClassVar[str] = "eegmat"
    title: ClassVar[str] = "EEG during mental arithmetic: 36 people, rest and arithmetic, 19 channels"
    licence: ClassVar[str] = "ODC-By 1.0"
    url: ClassVar[str] = "https://physionet.org/content/eegmat/1.0.0/"
    files_url: ClassVar[str | None] = "https://physionet.org/files/eegmat/1.0.0/"
    access: ClassVar[str] = f"It is open: load with download=True, or fetch it from {url}."
    patterns = ("Subject*_[12].edf",)
    targets: ClassVar[tuple[str, ...]] = ("task", "quality", "sex")
    levels = ("patient", "recording", "trial")
    target = "task"
    expected = {"patients": 36, "recordings": 72, "trials": 864, "windows": 7776}

    def __init__(self, target: str | None = None, sfreq: float = 128.0) -> None:
        super().__init__(target)
        if not 0 < sfreq <= 500:
            raise ConfigError(f"eegmat: sfreq is {sfreq:g} Hz, the recordings have 500 Hz: choose a rate up to that.")
        self.sfreq = sfreq

    def __repr__(self) -> str:
        return f"EEGMat(target={self.target!r}, sfreq={self.sfreq:g})"

    def sources(self, root: Path) -> list[Source]:
        """One source a recording, with the task of its name and the person's row of the table."""
        table = read_table(root / "subject-info.csv")
        found = []
        for path in natural_order(root.glob("Subject*.edf")):
            match = FILE_NAME.fullmatch(path.name)
            if match is None:
                continue
            subject, number = match.groups()
            if subject not in table.index:
                raise DataError(
                    f"{root / 'subject-info.csv'} has no row for {subject}, but {path.name} is there: fetch it again."
                )
            row: dict[Any, Any] = table.loc[subject].to_dict()
            labels = {
                "task": TASKS[number],
                "quality": "good" if int(row["Count quality"]) == 1 else "bad",
                "sex": str(row["Gender"]).strip(),
                "age": float(row["Age"]),
            }
            found.append(Source(str(path), {"patient": subject, "recording": path.stem}, labels, reader=read_eegmat))
        return found

    def preprocessing(self) -> Preprocessing:
        """19 electrodes, resampled; up to twelve standardised trials of 5 s of nine half-overlapping windows of 1 s."""
        return Preprocessing(
            steps=[PickChannels(ELECTRODES), Resample(self.sfreq)],
            trials=FixedTrials(5.0, max_trials=12),
            trial_steps=[Scale("standard")],
            windows=SlidingWindows(1.0, overlap=0.5),
        )
