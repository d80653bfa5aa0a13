"""Brennan 2019: EEG of people who listened to the first chapter of "Alice's Adventures in Wonderland"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from tscl.data.datasets.base import natural_order
from tscl.data.datasets.matfiles import montage_positions, read_mat, words_inside
from tscl.data.recording import Channels
from tscl.data.sources import Source
from tscl.data.speech.recording import SpeechRecording
from tscl.data.speech.study import SpeechStudy
from tscl.errors import DataError, DataNotFoundError

# The list `use` of the authors' datasets.mat.
KEPT = tuple(f"S{number:02d}" for number in (1, 3, 4, 5, 6, 8, *range(10, 23), 25, 26, *range(34, 43), 44, 45, 48))
# The first trigger of these four was not recorded, so proc.trl numbers their segments one too low.
SHIFTED = ("S26", "S34", "S35", "S36")
# Numbers in MNE's easycap-M10 of the electrodes 1 to 61 of the authors' easycapM10-acti61_elec.sfp: same places.
ACTI61 = (*range(2, 8), *range(20, 35), *range(51, 62), 1, *range(8, 20), *range(35, 51))
TABLE = "AliceChapterOne-EEG.csv"
COLUMNS = ("Word", "Segment", "onset", "offset", "Sentence")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read ``AliceChapterOne-EEG.csv``: a row a word, ``onset`` and ``offset`` in s from the beginning of its segment.

    Raises
    ------
    DataError
        When it cannot be read, lacks a column, or has no number where one must be.
    """
    try:
        table = pd.read_csv(path, keep_default_na=False)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise DataError(f"{path} cannot be read as a table ({error}): fetch the original {TABLE}.") from error
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}, it has {list(table.columns)}: fetch the original table.")
    for column in COLUMNS[1:]:
        numbers = pd.to_numeric(table[column], errors="coerce")
        if numbers.isna().any():
            raise DataError(
                f"{path}, row {int(numbers.isna().argmax()) + 2}, has no number in the column {column!r}: fetch the "
                "original table."
            )
        table[column] = numbers.astype(int if column in ("Segment", "Sentence") else float)
    return table


def segment_starts(path: str | Path, sfreq: float) -> dict[int, float]:
    """Return where the sound of each segment begins in a recording, from the authors' epochs around the words.

    ``proc.trl`` has a row a word: the first and the last sample of the epoch (from 1), the place of its first sample
    against the word (negative), then the columns that ``proc.varnames`` names: ``segment``, ``tmin`` (s, the word in
    the segment), ``Order``. Every word gives the start once; their median counts.

    Parameters
    ----------
    path : path
        ``proc/S01.mat``, ...
    sfreq : float
        Sampling rate of the recording, Hz.

    Returns
    -------
    dict of int to float
        Start of the sound, s from the first sample of the recording, by segment. The authors rounded words up to
        samples, so it is up to 2 ms late.

    Raises
    ------
    DataError
        When the file is laid out otherwise, or a tenth of a segment's words is more than 50 ms off their median start.
    """
    proc = read_mat(path, ("proc",))["proc"]
    if not isinstance(proc, dict) or not {"trl", "varnames"} <= set(proc):
        raise DataError(f"{path}: proc has no fields trl and varnames: fetch the original proc.zip.")
    names, trl = [str(name) for name in np.atleast_1d(proc["varnames"])], np.atleast_2d(proc["trl"]).astype(float)
    if not {"segment", "tmin"} <= set(names) or trl.shape[1] != 3 + len(names):
        raise DataError(
            f"{path}: proc.trl has shape {trl.shape} and proc.varnames is {names}, expected segment and tmin among the "
            "names of the columns from the fourth on: fetch the original proc.zip."
        )
    segment = trl[:, 3 + names.index("segment")].astype(int) + int(Path(path).stem in SHIFTED)
    start = (trl[:, 0] - 1 - trl[:, 2]) / sfreq - trl[:, 3 + names.index("tmin")]
    starts = {}
    for number in np.unique(segment).tolist():
        here = start[segment == number]
        starts[number] = float(np.median(here))
        off = np.abs(here - starts[number]) > 0.05
        if off.mean() > 0.1:
            raise DataError(
                f"{path}: {int(off.sum())} of {len(off)} words of segment {number} in proc.trl disagree by more than "
                "50 ms about its start: fetch the original proc.zip."
            )
    return starts


def read_brennan(path: str, *, proc: str, table: str, sounds: str) -> SpeechRecording:
    """Read one person's recording.

    Parameters
    ----------
    path : str
        ``S01.mat``, ...: FieldTrip's structure ``raw`` with one continuous trial, uV.
    proc, table : str
        The person's file of ``proc.zip``, and ``AliceChapterOne-EEG.csv``.
    sounds : str
        Folder of the twelve sound files.

    Returns
    -------
    SpeechRecording
        Numbered electrodes with positions, type ``"eeg"``; VEOG (``"eog"``) and what else was recorded (``"misc"``).

    Raises
    ------
    DataError
        When a file is damaged or laid out otherwise.
    """
    raw = read_mat(path, ("raw",))["raw"]
    if not isinstance(raw, dict) or not {"trial", "label", "fsample"} <= set(raw):
        raise DataError(f"{path}: raw has no fields trial, label and fsample: fetch the original file.")
    names, sfreq = tuple(str(label) for label in np.atleast_1d(raw["label"])), float(raw["fsample"])
    data = np.asarray(raw["trial"])
    if data.dtype == object or data.ndim != 2 or len(data) != len(names):
        raise DataError(
            f"{path}: raw.trial has shape {data.shape}, expected one trial of shape ({len(names)}, samples): fetch the "
            "original file."
        )
    numbers = {i: int(name) for i, name in enumerate(names) if name.isdigit() and 1 <= int(name) <= len(ACTI61)}
    if not numbers:
        raise DataError(f"{path}: no label of raw is an electrode from 1 to 61, it has {list(names)}: fetch it again.")
    positions = np.full((len(names), 3), np.nan)
    positions[list(numbers)] = montage_positions("easycap-M10", [str(ACTI61[n - 1]) for n in numbers.values()])
    kinds = tuple("eeg" if i in numbers else "eog" if name == "VEOG" else "misc" for i, name in enumerate(names))
    words = _words(read_table(table), segment_starts(proc, sfreq), Path(sounds))
    if words.empty:
        raise DataError(f"{proc}: proc.trl has no segment of {TABLE}: fetch the original proc.zip.")
    return SpeechRecording(
        data,
        Channels(names, kinds, "uV", sfreq, positions),
        source=path,
        words=words_inside(words, data.shape[1] / sfreq, source=path),
    )


def _words(table: pd.DataFrame, starts: dict[int, float], sounds: Path) -> pd.DataFrame:
    table = table[table["Segment"].isin(starts)]
    return pd.DataFrame(
        {
            "onset": table["Segment"].map(starts) + table["onset"],
            "duration": table["offset"] - table["onset"],
            "word": table["Word"],
            "sequence": [
                f"segment{segment:02d}/sentence{sentence:02d}"
                for segment, sentence in zip(table["Segment"], table["Sentence"], strict=True)
            ],
            "sound": [str(sounds / f"DownTheRabbitHoleFinal_SoundFile{segment}.wav") for segment in table["Segment"]],
            "sound_onset": table["onset"],
        }
    )


class Brennan2019(SpeechStudy):
    """EEG during the first chapter of Alice (Brennan and Hale, PLoS ONE 14, 2019, e0207741).

    49 people, of whom the authors kept 33; one recording each of 12 min in twelve segments with one sound file each;
    60 electrodes (easycap M10, 61 with the reference 29) and a vertical EOG, often the sound too, 500 Hz, uV.

    Established from the authors' readme and code: the files and their columns; the 33 people (``use`` in
    ``datasets.mat``); word times relative to the segment in the table; onsets of segments only within ``proc.trl``,
    corrected there for the delay of the sound (60 ms in the first segment, 50 ms in the others); wrong segment numbers
    of S26, S34, S35 and S36, whose first segment is left out here and whose starts are 10 ms late in one segment.
    Established from others' conversions: ``raw.trial`` is in uV, ``trl`` has six columns for the people kept, the
    electrodes have the numbers of ``easycapM10-acti61_elec.sfp``: the same places as MNE's ``easycap-M10``, but other
    numbers. Assumed: the first sample of ``raw`` is sample 1 of ``proc.trl``. Signals are as recorded: not
    re-referenced, and the authors' rejected channels, epochs and components are kept.

    A sequence is a sentence; the six sentences that go on in the next segment are two sequences, one a sound.

    Parameters
    ----------
    subjects : sequence of str, optional
        People such as ``"S01"``; the authors' 33 by default. Seven of the other sixteen have no file in ``proc.zip``.

    Examples
    --------
    >>> data = Brennan2019().load("brennan2019")  # doctest: +SKIP
    """

    name: ClassVar[str] = "brennan2019"
    title: ClassVar[str] = "Brennan 2019: EEG of 33 people listening to Alice in Wonderland, 60 channels"
    licence: ClassVar[str] = "CC BY 4.0"
    url: ClassVar[str] = "https://doi.org/10.7302/Z29C6VNH"
    access: ClassVar[str] = (
        f"Fetch S01.mat to S49.mat, {TABLE}, proc.zip and audio.zip from {url} into one folder, and unpack the two "
        "archives to proc/S01.mat, ... and audio/DownTheRabbitHoleFinal_SoundFile1.wav, ... there."
    )
    folders: ClassVar[tuple[str, ...]] = ("brennan2018", "Brennan", "Alice")
    patterns = ("S[0-9][0-9].mat",)
    expected = {"patients": len(KEPT), "recordings": len(KEPT)}

    def __init__(self, subjects: Sequence[str] | None = None) -> None:
        super().__init__()
        self.subjects = KEPT if subjects is None else tuple(subjects)

    def sources(self, root: Path) -> list[Source]:
        """One source a person.

        Raises
        ------
        DataNotFoundError
            When the table, the EEG of all chosen people, or a person's file of ``proc.zip`` is missing.
        """
        sounds = self.speech or root / "audio"
        if not (root / TABLE).is_file():
            raise DataNotFoundError(f"brennan2019: {root} has no {TABLE}. {self.access}")
        found = []
        for path in natural_order(root.glob("S*.mat")):
            if re.fullmatch(r"S\d\d", path.stem) is None or path.stem not in self.subjects:
                continue
            proc = root / "proc" / path.name
            if not proc.is_file():
                raise DataNotFoundError(
                    f"brennan2019: {proc}, which says when {path.stem} heard what, is missing. {self.access}"
                )
            reader = partial(read_brennan, proc=str(proc), table=str(root / TABLE), sounds=str(sounds))
            found.append(Source(str(path), {"patient": path.stem, "recording": path.stem}, reader=reader))
        if not found:
            raise DataNotFoundError(
                f"brennan2019: {root} has the recording of none of {', '.join(self.subjects)}. {self.access}"
            )
        return found
