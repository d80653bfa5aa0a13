"""MEG-MASC: MEG of 27 people who listened to four English stories, twice."""

from __future__ import annotations

import ast
import json
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
from tscl.errors import DataError


def parse_description(text: str) -> dict[str, Any]:
    """Return the dictionary that a cell of ``trial_type`` holds, as a Python literal or as JSON; never evaluated.

    Raises
    ------
    ValueError
        When it is neither.
    """
    try:
        event = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        event = json.loads(text)
    if not isinstance(event, dict):
        raise ValueError(f"{text[:40]!r} is no dictionary")
    return event


def masc_words(events: pd.DataFrame, path: Path, sounds: Path) -> list[dict[str, Any]]:
    """Return the rows of the table of words for the events of one recording.

    Parameters
    ----------
    events : DataFrame
        ``onset``, ``duration`` (s) and ``trial_type``: dictionaries with ``kind`` (``"sound"``, ``"word"``,
        ``"phoneme"``), ``story``, ``sound``, ``start`` (s in the sound), and for words ``word`` and ``sequence_id``.
    path : Path
        Their file, for messages.
    sounds : Path
        Folder of the sound files.

    Returns
    -------
    list of dict
        A word's ``sequence`` is the name of its sound and its ``sequence_id``. Where it has no ``start``, the last row
        of kind ``"sound"`` says when the sound began.

    Raises
    ------
    DataError
        When a cell cannot be parsed, or a word has no sound or no place in it.
    """
    if "trial_type" not in events:
        raise DataError(f"{path} has no column 'trial_type', it has {list(events.columns)}: fetch it again.")
    rows: list[dict[str, Any]] = []
    files: dict[str, Path] = {}
    began: dict[str, float] = {}
    for onset, duration, text in events.loc[
        events["trial_type"].notna(), ["onset", "duration", "trial_type"]
    ].itertuples(index=False):
        try:
            event = parse_description(text)
        except ValueError as error:
            raise DataError(
                f"{path}: the trial_type at {onset:.3f} s is no dictionary ({error}): fetch it again."
            ) from error
        kind, start = event.get("kind"), event.get("start")
        if kind not in ("sound", "word"):
            continue
        name = Path(str(event.get("sound", ""))).name
        if kind == "sound":
            began[name] = onset - float(start or 0.0)
            continue
        if start is None and name in began:
            start = onset - began[name]
        if not name or start is None:
            raise DataError(
                f"{path}: the word at {onset:.3f} s has no 'sound' or no 'start' in it, it has {sorted(event)}: fetch "
                "the file again."
            )
        if name not in files:
            files[name] = find_sound(sounds, name)
        number = event.get("sequence_id")
        stem = Path(name).stem.lower()
        rows.append(
            {
                "onset": onset,
                "duration": duration,
                "word": event.get("word"),
                "sequence": stem if number is None else f"{stem}/{str(number).removesuffix('.0')}",
                "sound": str(files[name]),
                "sound_onset": start,
            }
        )
    return rows


def read_masc(path: str, *, sounds: str) -> SpeechRecording:
    """Read one ``.con`` file, its magnetometer channels in fT, with the words of its events.

    Parameters
    ----------
    path : str
        The recording; its ``_events.tsv`` lies beside it.
    sounds : str
        Folder of the sound files.

    Raises
    ------
    DataError
        When the recording or its events cannot be used.
    """
    events, table = read_events(path)
    words = masc_words(events, table, Path(sounds))
    return with_words(read_mne(path, picks=list(Gwilliams2022.channel_types)), words)


class Gwilliams2022(SpeechStudy):
    """MEG-MASC: 27 people listened to four English stories with word lists in between (Gwilliams et al. 2023).

    Scientific Data 10, 862, doi 10.1038/s41597-023-02752-5. KIT system with 208 sensors, 1 kHz, two sessions of the
    same four stories, each story a recording (``task-0`` to ``task-3``) of several sound files. Both sessions share
    their sequence ids, so a split by sequence keeps a sentence on one side. Words of the word lists are kept. Sensor
    positions are in metres in the frame of the helmet, since the head shape is not read.

    The files are read by mne itself: ``mne_bids.read_raw_bids`` makes an annotation of every phoneme, in a time that
    grows with the square of their number. Finding the files needs mne-bids (``tscl[bids]``).

    Examples
    --------
    >>> data = Gwilliams2022().load("MEG-MASC")  # doctest: +SKIP
    """

    name: ClassVar[str] = "gwilliams2022"
    title: ClassVar[str] = "MEG-MASC: MEG of 27 people listening to stories, 208 sensors"
    licence: ClassVar[str] = "CC0 1.0"
    url: ClassVar[str] = "https://osf.io/ag3kj"
    access: ClassVar[str] = (
        f"Download all parts of the set (MEG-MASC and its numbered continuations) at {url} and merge them into one "
        "folder with sub-01/ to sub-27/ and stimuli/audio/."
    )
    folders: ClassVar[tuple[str, ...]] = ("MEG-MASC", "bids_anonym")
    patterns = ("sub-*/ses-*/meg/*_meg.con",)
    levels = ("patient", "session", "recording", "trial")
    expected = {"patients": 27}
    channel_types: ClassVar[tuple[str, ...]] = ("mag",)

    def sources(self, root: Path) -> list[Source]:
        """One source a story of a session.

        Raises
        ------
        ConfigError
            When mne-bids is not installed.
        DataNotFoundError
            When there is no folder of sounds.
        """
        reader = partial(read_masc, sounds=str(sound_folder(self, root, "stimuli", "audio")))
        return [replace(source, reader=reader) for source in BIDSFolder("meg").sources(root)]
