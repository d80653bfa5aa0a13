"""Any BIDS tree whose events name the sounds that were heard, and what the BIDS speech studies share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from tscl.data.datasets.bids import BIDSFolder, read_bids
from tscl.data.preprocessing import PickChannels
from tscl.data.recording import Recording
from tscl.data.sources import Source
from tscl.data.speech.recording import SpeechRecording
from tscl.data.speech.study import SpeechStudy
from tscl.data.speech.tables import read_text_table, records, seconds, sound_words
from tscl.errors import ConfigError, DataError, DataNotFoundError

SIGNALS = {"meg": ("mag", "grad"), "eeg": ("eeg",)}


def read_events(recording: str | Path) -> tuple[pd.DataFrame, Path]:
    """Read the ``_events.tsv`` of a recording in the order of its onsets.

    Parameters
    ----------
    recording : path
        ``sub-..._meg.con``, ``sub-..._eeg.vhdr``, ...

    Returns
    -------
    events : DataFrame
        Cells are text, NaN where missing, but ``onset`` and ``duration`` (s; 0 where it is not known), which are
        float. Rows without an onset are left out.
    path : Path
        The table, for messages.

    Raises
    ------
    DataNotFoundError
        When the table is missing.
    DataError
        When it cannot be read, or a time is no number.
    """
    recording = Path(recording)
    path = recording.with_name(recording.name.rsplit("_", 1)[0] + "_events.tsv")
    events = read_text_table(path, ["onset", "duration"])
    events = events[events["onset"].notna()]
    events = events.assign(
        onset=seconds(events, "onset", path), duration=seconds(events, "duration", path, missing=0.0)
    )
    return events.sort_values("onset", kind="stable", ignore_index=True), path


def with_words(recording: Recording, words: list[dict[str, Any]]) -> SpeechRecording:
    """Return the recording with the table of its words; raises DataError when they do not fit."""
    return SpeechRecording(
        recording.data,
        recording.channels,
        annotations=recording.annotations,
        source=recording.source,
        words=pd.DataFrame(words),
    )


def find_sound(folder: str | Path, name: str) -> Path:
    """Return the file ``name`` in ``folder``, in upper or lower case; the path as named where there is none."""
    path = Path(folder) / name
    if path.exists() or not path.parent.is_dir():
        return path
    return next((p for p in sorted(path.parent.iterdir()) if p.name.lower() == path.name.lower()), path)


def heard_words(
    events: pd.DataFrame, path: Path, sounds: Path, names: tuple[str, str, str, str]
) -> list[dict[str, Any]]:
    """Return the rows of the table of words; see :class:`BIDSSpeech` for the two layouts of ``events``.

    Parameters
    ----------
    events : DataFrame
        What :func:`read_events` gives.
    path : Path
        Its file, for messages.
    sounds : Path
        Folder of the sound files.
    names : tuple of str
        Columns of the sound file, the word, the sequence and the onset in the sound.

    Raises
    ------
    DataError
        When no sound is named, or neither the events nor a table beside the sound give words.
    """
    file, word, sequence, begin = names
    if file not in events:
        raise DataError(
            f"{path} has no column {file!r}, it has {list(events.columns)}: name the one of the sound files."
        )
    table = events[events[file].notna()].reindex(columns=["onset", "duration", *names]).reset_index(drop=True)
    table[begin] = seconds(table, begin, path, missing=float("nan"))
    every_word = table[word].notna().any()
    files = {name: find_sound(sounds, name) for name in table[file].unique()}
    rows: list[dict[str, Any]] = []
    playing, started = "", 0.0
    for event in records(table):
        onset, name, inside = event["onset"], event[file], event[begin]
        if inside is not None:
            started = onset - inside
        elif name != playing or event[word] is None:
            started, inside = onset, 0.0
        else:
            inside = onset - started
        playing = name
        if not every_word:
            parts = sound_words(files[name])
            if parts is None:
                raise DataError(
                    f"{path}: no row has a {word!r} and {files[name].with_suffix('.tsv')} does not exist: give the "
                    "words in one of the two."
                )
            end = inside + (event["duration"] or float("inf"))
            heard = [{**part, "sound_onset": part["onset"]} for part in parts if inside <= part["onset"] < end]
        elif event[word] is not None:
            heard = [{**event, "word": event[word], "sequence": event[sequence], "sound_onset": inside}]
        else:
            heard = []
        stem = Path(name).with_suffix("").as_posix()
        for part in heard:
            number = part["sequence"]
            place = {"onset": started + part["sound_onset"], "sound": str(files[name])}
            rows.append({**part, **place, "sequence": stem if number is None else f"{stem}/{number}"})
    return rows


def read_listener(
    path: str, *, root: str, types: tuple[str, ...], sounds: str, names: tuple[str, str, str, str]
) -> SpeechRecording:
    """Read a recording of a BIDS tree with the words of its events; see :func:`heard_words`.

    Parameters
    ----------
    path : str
        The recording.
    root : str
        Root of the BIDS tree.
    types : tuple of str
        MNE channel types that are kept.
    sounds : str
        Folder of the sound files.
    names : tuple of str
        Columns of the sound file, the word, the sequence and the onset in the sound.

    Raises
    ------
    DataError
        When the recording or its events cannot be used.
    """
    events, table = read_events(path)
    words = heard_words(events, table, Path(sounds), names)
    return with_words(PickChannels(types=types)(read_bids(path, root=root)), words)


def sound_folder(study: SpeechStudy, root: Path, *below: str) -> Path:
    """Return the folder of the sounds, ``study.speech`` or the one below ``root``.

    Raises
    ------
    DataNotFoundError
        When it does not exist.
    """
    folder = Path(study.speech) if study.speech is not None else root.joinpath(*below)
    if not folder.is_dir():
        raise DataNotFoundError(
            f"{study.name}: the folder of the sound files {folder} does not exist: put the study's sounds there, or "
            "name the folder that has them as `speech`."
        )
    return folder


class BIDSSpeech(SpeechStudy):
    """Any BIDS data set of EEG or MEG whose events name the sounds that were heard; needs mne-bids (``tscl[bids]``).

    ``sub-`` is the level ``patient``, ``ses-`` ``session``, the file ``recording``. The sound files lie in
    ``stimuli/`` of the tree, or in the folder ``speech``, and the column ``stim_file`` of ``events.tsv`` names them
    relative to it (BIDS specification, task events). Words are given in one of two ways.

    Every word is a row, with its onset in the recording and, as ``sound_onset``, in the sound (s)::

        onset   duration  stim_file       word   sound_onset  sequence
        10.250  0.310     story/one.wav   Once   0.250        1
        10.560  0.120     story/one.wav   upon   0.560        1

    A row without ``sound_onset`` starts its sound, or goes on with it where the row before names the same sound; a
    row with a sound but no word starts it.

    Or only the start of every sound is a row, and a table of the same stem beside the sound file
    (``stimuli/story/one.tsv``, or a Praat ``one.TextGrid`` with a tier ``words``) lists its words, in seconds from the
    start of the sound::

        onset   duration  stim_file
        10.000  58.5      story/one.wav

        onset  duration  word  sequence
        0.250  0.310     Once  1
        0.560  0.120     upon  1

    A known duration cuts off what was not played. The column ``sequence`` (the sentence, the same number for everyone
    who heard it, unique within its sound) may be left out; all of a sound is one sequence then. Other rows are ignored,
    and so is the order of the columns.

    Parameters
    ----------
    datatype : {"meg", "eeg"}, default="meg"
        Modality.
    tasks, subjects, sessions : sequence of str, optional
        Only these, without ``task-``, ``sub-``, ``ses-``; all otherwise.
    sound_file, word, sequence, sound_onset : str
        Columns of ``events.tsv``.

    Raises
    ------
    ConfigError
        When the modality is another one.

    Examples
    --------
    >>> data = BIDSSpeech("eeg", tasks=["listening"]).load("my_tree")  # doctest: +SKIP
    """

    name: ClassVar[str] = "bids_speech"
    title: ClassVar[str] = "Any BIDS tree of EEG or MEG during speech"
    licence: ClassVar[str] = "yours"
    url: ClassVar[str] = "https://bids.neuroimaging.io"
    access: ClassVar[str] = (
        "Pass the root of a BIDS tree as root: the folder with sub-*/ and stimuli/, whose events.tsv name sound files."
    )
    patterns = ("sub-*/*/*_events.tsv", "sub-*/ses-*/*/*_events.tsv")
    levels = ("patient", "session", "recording", "trial")
    channel_types: ClassVar[tuple[str, ...]] = ("mag", "grad", "eeg")

    def __init__(
        self,
        datatype: str = "meg",
        tasks: Sequence[str] | None = None,
        subjects: Sequence[str] | None = None,
        sessions: Sequence[str] | None = None,
        sound_file: str = "stim_file",
        word: str = "word",
        sequence: str = "sequence",
        sound_onset: str = "sound_onset",
    ) -> None:
        super().__init__()
        if datatype not in SIGNALS:
            raise ConfigError(f"{self.name}: datatype={datatype!r} must be one of {', '.join(SIGNALS)}.")
        self.datatype, self.tasks, self.subjects, self.sessions = datatype, tasks, subjects, sessions
        self.sound_file, self.word, self.sequence, self.sound_onset = sound_file, word, sequence, sound_onset

    def sources(self, root: Path) -> list[Source]:
        """One source a recording.

        Raises
        ------
        ConfigError
            When mne-bids is not installed.
        DataNotFoundError
            When there is no folder of sounds.
        DataError
            When the tree has no such recording.
        """
        reader = partial(
            read_listener,
            root=str(root),
            types=SIGNALS[self.datatype],
            sounds=str(sound_folder(self, root, "stimuli")),
            names=(self.sound_file, self.word, self.sequence, self.sound_onset),
        )
        found = BIDSFolder(self.datatype, self.tasks, self.subjects, self.sessions).sources(root)
        return [replace(source, reader=reader) for source in found]
