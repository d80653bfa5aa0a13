"""PTB: diagnostic ECG of people with myocardial infarction and healthy ones, as COMET used it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd

from tscl.data.datasets.base import Study, natural_order, yes_no
from tscl.data.datasets.comet import is_processed, processed_sources
from tscl.data.datasets.leads import (
    FRANK_LEADS,
    TWELVE_LEADS,
    as_number,
    comment_value,
    header_comments,
    read_leads,
)
from tscl.data.preprocessing import (
    HeartbeatTrials,
    PickChannels,
    Preprocessing,
    Resample,
    Scale,
    SlidingWindows,
    WholeRecording,
)
from tscl.data.preprocessing.trials import Trial
from tscl.data.recording import Recording
from tscl.data.sources import Source
from tscl.data.windows import WindowDataset
from tscl.errors import DataError

log = logging.getLogger(__name__)

REASONS = {"healthy control": 0, "myocardial infarction": 1}
SFREQ, BEAT = 250.0, 300
HELD_OUT = {0: 7, 1: 21}


def reason_of(path: Path) -> int | None:
    """Return 1 for myocardial infarction, 0 for a healthy control, None for another reason for admission."""
    return REASONS.get((comment_value(header_comments(path), "Reason for admission") or "").lower())


@dataclass(frozen=True)
class HeartbeatsOnce:
    """Cuts a record into trials of heartbeats; a trial of the processed layout is one already."""

    heartbeats: HeartbeatTrials

    def __call__(self, recording: Recording) -> list[Trial]:
        """Return the trials."""
        return WholeRecording()(recording) if "trial" in recording.ids else self.heartbeats(recording)


class PTB(Study):
    """PTB Diagnostic ECG (Bousseljot et al. 1995): myocardial infarction or healthy, in COMET's geometry (appendix C).

    15 leads; records resampled to 250 Hz and standardised; each heartbeat padded to 300 steps is a window, ten
    consecutive ones a trial; records whose median interval exceeds 300 steps are dropped. Read from the WFDB records
    in ``patientNNN/`` or from the authors' processed layout (``Feature/``, ``Label/``), whichever is there. A person
    belongs to the set when one of their records tells one of the two reasons for admission; all of their records are
    used.

    Parameters
    ----------
    target : str, default="infarction"
        0 or 1. From the records also ``sex`` and ``age`` (years).

    Examples
    --------
    >>> study = PTB()  # doctest: +SKIP
    >>> split = study.published_split(study.load("ptbdb", n_jobs=8))  # doctest: +SKIP
    """

    name: ClassVar[str] = "ptb"
    title: ClassVar[str] = "PTB: ECG of 198 people, myocardial infarction or healthy, 15 leads"
    licence: ClassVar[str] = "ODC-By 1.0"
    url: ClassVar[str] = "https://physionet.org/content/ptbdb/1.0.0/"
    files_url: ClassVar[str | None] = "https://physionet.org/files/ptbdb/1.0.0/"
    access: ClassVar[str] = f"It is open: load with download=True, or fetch it from {url}."
    folders: ClassVar[tuple[str, ...]] = ("PTB", "ptbdb", "ptb-diagnostic-ecg-database-1.0.0")
    patterns = ("patient[0-9]*/*.hea", "Feature/feature_*.npy")
    targets: ClassVar[tuple[str, ...]] = ("infarction", "sex")
    target = "infarction"
    expected = {"patients": 198, "trials": 6237, "windows": 62370}

    def wanted_file(self, path: str) -> bool:
        """Headers and signals."""
        return path.startswith("patient") and path.endswith((".hea", ".dat", ".xyz"))

    def sources(self, root: Path) -> list[Source]:
        """One source a record, or one for the processed layout."""
        if is_processed(root):
            names = (*TWELVE_LEADS, *FRANK_LEADS)
            return processed_sources(root, "infarction", sfreq=SFREQ, kind="ecg", unit="a.u.", names=names)
        found = []
        for folder in natural_order(path for path in root.glob("patient[0-9]*") if path.is_dir()):
            headers = natural_order(folder.glob("*.hea"))
            told = [reason for path in headers if (reason := reason_of(path)) is not None]
            if not told:
                continue
            patient = folder.name.removeprefix("patient")
            for path in headers:
                comments = header_comments(path)
                sex = (comment_value(comments, "sex") or "").lower()
                labels = {
                    "infarction": yes_no(told[-1]),
                    "sex": {"male": "M", "female": "F"}.get(sex),
                    "age": as_number(comment_value(comments, "age")),
                }
                found.append(Source(str(path), {"patient": patient, "recording": path.stem}, labels, reader=read_leads))
        if not found:
            raise DataError(
                f"{root} has no record with the reason for admission {' or '.join(REASONS)}: fetch the headers again."
            )
        return found

    def preprocessing(self) -> Preprocessing:
        """COMET's heartbeats; trials standardised, one beat a window."""
        return Preprocessing(
            steps=[PickChannels((*TWELVE_LEADS, *FRANK_LEADS)), Resample(SFREQ), Scale("standard")],
            trials=HeartbeatsOnce(HeartbeatTrials(sfreq=SFREQ, length=BEAT, beats=10)),
            trial_steps=[Scale("standard")],
            windows=SlidingWindows(BEAT / SFREQ),
        )

    def published_patients(self, data: WindowDataset) -> dict[str, list[str]] | None:
        """COMET's split: in the order of their numbers, the last 7 healthy and 21 infarcted people are the test set.

        As many before them are the validation set. None, with a warning, where a class has not enough people.
        """
        people = data.metadata.drop_duplicates("patient")
        people = people.assign(number=pd.to_numeric(people["patient"])).sort_values("number")
        parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        for label, count in HELD_OUT.items():
            ids = people.loc[people["infarction"] == label, "patient"].astype(str).tolist()
            if len(ids) <= 2 * count:
                log.warning("ptb: %d people with infarction=%d are too few for the published split.", len(ids), label)
                return None
            parts["train"] += ids[: -2 * count]
            parts["val"] += ids[-2 * count : -count]
            parts["test"] += ids[-count:]
        return parts
