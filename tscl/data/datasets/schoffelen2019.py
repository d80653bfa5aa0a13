"""MOUS: MEG of people who listened to Dutch sentences and word lists."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from tscl.data.datasets.bids import BIDSFolder
from tscl.data.datasets.speech_bids import find_sound, read_events, sound_folder, with_words
from tscl.data.readers.mne_reader import read_mne
from tscl.data.sources import Source
from tscl.data.speech.recording import SpeechRecording
from tscl.data.speech.study import SpeechStudy
from tscl.data.speech.tables import sound_words
from tscl.errors import DataError

_START = re.compile(r"Start File\s+(\d+)\.wav", re.IGNORECASE)
_ONSET = re.compile(r"\b(audio onset|target)\s*$", re.IGNORECASE)


def read_stimuli(path: Path) -> dict[int, str]:
    """Read ``stimuli.txt``, the number and the text of a stimulus a line; empty when there is no such file."""
    if not path.is_file():
        return {}
    lines = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return {int(parts[0]): parts[1] for parts in lines if len(parts) == 2 and parts[0].isdigit()}


def mous_words(events: pd.DataFrame, path: Path, sounds: Path, texts: dict[int, str]) -> list[dict[str, Any]]:
    """Return the rows of the table of words for the events of one recording; see :class:`Schoffelen2019`.

    Parameters
    ----------
    events : DataFrame
        ``onset`` (s) and ``value``: ``"14 Start File 045.wav"`` where a sound file starts, ``"1 Audio onset"`` at its
        first word, ``"2 target"`` at its target word.
    path : Path
        Their file, for messages.
    sounds : Path
        Folder of the sound files.
    texts : dict of int to str
        Text of a stimulus by its number.

    Raises
    ------
    DataError
        When no sound starts.
    """
    if "value" not in events:
        raise DataError(f"{path} has no column 'value', it has {list(events.columns)}: fetch it again.")
    values = events["value"].fillna("").tolist()
    starts = [(i, match) for i, value in enumerate(values) if (match := _START.search(value))]
    if not starts:
        raise DataError(f"{path} has no event 'Start File ###.wav': choose a recording of the task 'auditory'.")
    rows: list[dict[str, Any]] = []
    ends = [i for i, _ in starts[1:]] + [len(values)]
    for (i, match), end in zip(starts, ends, strict=True):
        number, start = int(match[1]), float(events["onset"].iloc[i])
        sound = find_sound(sounds, f"EQ_Ramp_Int2_Int1LPF{number:03d}.wav")
        words = sound_words(sound)
        if words is None:
            marks = [(k, mark[1].lower()) for k in range(i + 1, end) if (mark := _ONSET.search(values[k]))]
            first = texts.get(number, "").split()[:1]
            words = [
                {
                    "onset": float(events["onset"].iloc[k]) - start,
                    "word": first[0] if first and mark == "audio onset" else None,
                }
                for k, mark in marks
            ] or [{"onset": 0.0, "word": None}]
        for word in words:
            rows.append(
                {
                    "onset": start + word["onset"],
                    "duration": word.get("duration", 0.0),
                    "word": word["word"],
                    "sequence": f"{number:03d}",
                    "sound": str(sound),
                    "sound_onset": word["onset"],
                }
            )
    return rows


def read_mous(path: str, *, sounds: str, stimuli: str) -> SpeechRecording:
    """Read one ``.ds`` folder, its axial gradiometers in fT, with the words of its events.

    Parameters
    ----------
    path : str
        The recording; its ``_events.tsv`` lies beside it.
    sounds : str
        Folder of the sound files.
    stimuli : str
        The table of the stimuli's texts; it may be missing.

    Raises
    ------
    DataError
        When the recording or its events cannot be used.
    """
    events, table = read_events(path)
    words = mous_words(events, table, Path(sounds), read_stimuli(Path(stimuli)))
    return with_words(read_mne(path, picks=list(Schoffelen2019.channel_types)), words)


class Schoffelen2019(SpeechStudy):
    """MOUS, the part with MEG of people who listened to Dutch sentences and word lists (Schoffelen et al. 2019).

    Scientific Data 6, 17, doi 10.1038/s41597-019-0020-y. CTF system with 273 axial gradiometers, 1.2 kHz, one recording
    of the task ``auditory`` a subject, every stimulus a sound file of its own, whose number is the ``sequence``.

    **Words.** The public events say when a sound file starts, when its first word begins (``Audio onset``) and when its
    target word does (``target``), and ``stimuli/stimuli.txt`` what was said; they do not time the other words. So by
    default a sound gives two words, of duration 0: the first, with its text, and the target, without. A sound
    without either is one word without text at its start. To use every word, align the texts yourself (the Montreal
    Forced Aligner, for one) and put the results beside the sound files, as ``EQ_Ramp_Int2_Int1LPF045.TextGrid`` with a
    tier ``words``, or as ``.tsv`` with the columns ``onset``, ``duration``, ``word`` in seconds.

    Finding the files needs mne-bids (``tscl[bids]``).

    Examples
    --------
    >>> data = Schoffelen2019().load("MOUS")  # doctest: +SKIP
    """

    name: ClassVar[str] = "schoffelen2019"
    title: ClassVar[str] = "MOUS: MEG of 96 people listening to Dutch sentences and word lists, 273 sensors"
    licence: ClassVar[str] = "data use agreement of the Radboud Data Repository"
    url: ClassVar[str] = "https://data.ru.nl/collections/di/dccn/DSC_3011020.09_236"
    access: ClassVar[str] = (
        f"Accept the data use agreement at {url} and download meg/ of the subjects sub-A2*/, stimuli/audio_files/ and "
        "stimuli/stimuli.txt into one folder."
    )
    folders: ClassVar[tuple[str, ...]] = ("MOUS", "DSC_3011020.09_236_v1")
    patterns = ("sub-A*/meg/*_task-auditory_meg.ds",)
    levels = ("patient", "session", "recording", "trial")
    expected = {"patients": 96}
    channel_types: ClassVar[tuple[str, ...]] = ("mag",)

    def sources(self, root: Path) -> list[Source]:
        """One source a listener.

        Raises
        ------
        ConfigError
            When mne-bids is not installed.
        DataNotFoundError
            When there is no folder of sounds.
        """
        reader = partial(
            read_mous,
            sounds=str(sound_folder(self, root, "stimuli", "audio_files")),
            stimuli=str(root / "stimuli" / "stimuli.txt"),
        )
        return [replace(source, reader=reader) for source in BIDSFolder("meg", tasks=["auditory"]).sources(root)]
