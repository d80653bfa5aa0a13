"""MIT-BIH Arrhythmia Database: half-hour two-lead ECG with a class for every heartbeat."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from tscl.data.datasets.base import Study, natural_order
from tscl.data.datasets.leads import comment_value, header_comments, read_leads
from tscl.data.preprocessing import BandPass, Preprocessing, Resample, Scale
from tscl.data.preprocessing.trials import Trial
from tscl.data.recording import Recording
from tscl.data.sources import Source
from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError

log = logging.getLogger(__name__)

# ANSI/AAMI EC57: annotation symbols of the five classes of beats.
AAMI = {
    **dict.fromkeys("NLRej", "N"),
    **dict.fromkeys("AaJS", "S"),
    **dict.fromkeys("VE", "V"),
    "F": "F",
    **dict.fromkeys("/fQ", "Q"),
}
PACED = ("102", "104", "107", "217")
SAME_PERSON = {"202": "201"}

# de Chazal, O'Dwyer and Reilly, IEEE Trans. Biomed. Eng. 51, 2004, section II: training and test records.
DS1 = (
    "101",
    "106",
    "108",
    "109",
    "112",
    "114",
    "115",
    "116",
    "118",
    "119",
    "122",
    "124",
    "201",
    "203",
    "205",
    "207",
    "208",
    "209",
    "215",
    "220",
    "223",
    "230",
)
DS2 = (
    "100",
    "103",
    "105",
    "111",
    "113",
    "117",
    "121",
    "123",
    "200",
    "202",
    "210",
    "212",
    "213",
    "214",
    "219",
    "221",
    "222",
    "228",
    "231",
    "232",
    "233",
    "234",
)


def read_beats(path: str, *, before: float, after: float, sfreq: float, beats: int) -> list[Recording]:
    """Read a record and cut a window around each annotated beat.

    The record is filtered (0.5 to 40 Hz), resampled and standardised as a whole. The modified limb lead (MLII) comes
    first where there is one; the leads are named by their place, for they differ between records.

    Parameters
    ----------
    path : str
        Header file, with its ``.atr`` beside it.
    before, after : float
        Extent of a window around the annotation, s.
    sfreq : float
        Sampling rate of the windows, Hz.
    beats : int
        Beats that follow each other and share a trial.

    Returns
    -------
    list of Recording
        One a beat that lies inside the record, with its trial's id and the label columns ``beat`` (AAMI class) and
        ``symbol`` (the annotation's).

    Raises
    ------
    DataNotFoundError
        When the record has no annotation file.
    DataError
        When it has no annotated beats.
    """
    recording = read_leads(path, annotation="atr")
    names = recording.channels.names
    order = sorted(range(len(names)), key=lambda i: names[i] != "MLII")
    channels = replace(recording.channels.pick(order), names=tuple(f"lead {i + 1}" for i in range(len(names))))
    recording = replace(recording, data=recording.data[order], channels=channels)
    for step in (BandPass(0.5, 40.0), Resample(sfreq), Scale("standard")):
        recording = step(recording)
    length = round((before + after) * sfreq)
    found: list[Recording] = []
    for mark in recording.annotations:
        symbol = mark.description.split(" ")[0]
        start = round((mark.onset - before) * sfreq)
        if symbol not in AAMI or start < 0 or start + length > recording.data.shape[1]:
            continue
        beat = Trial.cut(recording, start, start + length)
        values = {field.name: getattr(beat, field.name) for field in fields(beat)}
        values |= {
            "ids": {"trial": f"{Path(path).stem}/{len(found) // beats:04d}"},
            "annotations": [],
            "labels": {"beat": AAMI[symbol], "symbol": symbol},
        }
        found.append(Trial(**values))
    if not found:
        raise DataError(
            f"{path}: its annotation file marks no beats: fetch the .atr file again, or leave the record out."
        )
    return found


class MITBIH(Study):
    """MIT-BIH Arrhythmia Database (Moody and Mark, 2001): 48 half-hour records of 47 people, two leads at 360 Hz.

    Each window is 0.7 s around an annotated beat, labelled by its class after ANSI/AAMI EC57; ten consecutive beats
    are a trial. Records without annotation file raise an error, or are left out with ``on_error="skip"``.

    Parameters
    ----------
    target : str, default="beat"
        ``beat``: N (normal or bundle branch block), S (supraventricular ectopic), V (ventricular ectopic), F (fusion)
        or Q (paced or unknown); ``symbol``: the annotation's own.
    sfreq : float, default=180
        Sampling rate of the windows, Hz.
    before, after : float, default=0.28 and 0.42
        Extent of a window around the beat, s.
    beats : int, default=10
        Beats of a trial.
    paced : bool, default=False
        Keep the four records of people with pacemakers, which the AAMI recommends to leave out.

    Examples
    --------
    >>> study = MITBIH()  # doctest: +SKIP
    >>> split = study.published_split(study.load("mitdb"))  # doctest: +SKIP
    """

    name: ClassVar[str] = "mitdb"
    title: ClassVar[str] = "MIT-BIH Arrhythmia: 48 half-hour two-lead ECG records, a class for every beat"
    licence: ClassVar[str] = "ODC-By 1.0"
    url: ClassVar[str] = "https://physionet.org/content/mitdb/1.0.0/"
    files_url: ClassVar[str | None] = "https://physionet.org/files/mitdb/1.0.0/"
    access: ClassVar[str] = f"It is open: load with download=True, or fetch it from {url}."
    folders: ClassVar[tuple[str, ...]] = ("mit-bih", "mitbih")
    patterns = ("[12][0-9][0-9].hea",)
    targets: ClassVar[tuple[str, ...]] = ("beat", "symbol")
    levels = ("patient", "recording", "trial")
    target = "beat"

    def __init__(
        self,
        target: str | None = None,
        sfreq: float = 180.0,
        before: float = 0.28,
        after: float = 0.42,
        beats: int = 10,
        paced: bool = False,
    ) -> None:
        super().__init__(target)
        if not 80 < sfreq <= 360 or before < 0 or after < 0 or before + after <= 0 or beats < 1:
            raise ConfigError(
                f"mitdb: sfreq={sfreq:g}, before={before:g}, after={after:g}, beats={beats}: the rate must be "
                f"above 80 and at "
                "most 360 Hz, the window and the trial not empty."
            )
        self.sfreq, self.before, self.after, self.beats, self.paced = sfreq, before, after, beats, paced
        self.expected = {"patients": 47, "recordings": 48} if paced else {"patients": 43, "recordings": 44}

    def __repr__(self) -> str:
        return (
            f"MITBIH(target={self.target!r}, sfreq={self.sfreq:g}, before={self.before:g}, after={self.after:g}, "
            f"beats={self.beats}, paced={self.paced})"
        )

    def wanted_file(self, path: str) -> bool:
        """Headers, signals and reference beats."""
        return "/" not in path and path.endswith((".hea", ".dat", ".atr"))

    def sources(self, root: Path) -> list[Source]:
        """One source a record; 201 and 202 are of the same person."""
        reader = partial(read_beats, before=self.before, after=self.after, sfreq=self.sfreq, beats=self.beats)
        found = []
        for path in natural_order(root.glob("[12][0-9][0-9].hea")):
            if path.stem in PACED and not self.paced:
                continue
            patient = SAME_PERSON.get(path.stem, path.stem)
            found.append(Source(str(path), {"patient": patient, "recording": path.stem}, person(path), reader=reader))
        if not found:
            raise DataError(f"{root} has only records of people with pacemakers: set paced=True to use them.")
        return found

    def preprocessing(self) -> Preprocessing:
        """One window a beat: :func:`read_beats` has done the rest."""
        return Preprocessing()

    def published_patients(self, data: WindowDataset) -> dict[str, list[str]] | None:
        """DS1 for training and DS2 for testing (de Chazal et al. 2004), without 202, the same person as 201 in DS1."""
        if "202" in set(data.metadata["recording"]):
            log.warning("mitdb: record 202 is of the same person as 201: it is trained on, not tested on as in DS2.")
        return {"train": list(DS1), "test": [record for record in DS2 if record not in SAME_PERSON]}


def person(path: Path) -> dict[str, str | float | None]:
    """Return sex and age (years) from the first comment of a header, such as ``69 M 1085 1629 x1``."""
    comments = header_comments(path)
    words = comments[0].split() if comments else []
    if comment_value(comments, "sex") is not None or len(words) < 2 or words[1] not in ("M", "F"):
        return {"sex": None, "age": float("nan")}
    age = float(words[0]) if words[0].isdigit() else float("nan")
    return {"sex": words[1], "age": age}
