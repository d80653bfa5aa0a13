"""Broderick 2019: EEG of 19 people who listened to an audiobook, "The Old Man and the Sea"."""

from __future__ import annotations

import logging
import re
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from tscl.data.datasets.base import natural_order
from tscl.data.datasets.matfiles import montage_positions, read_mat, words_inside
from tscl.data.recording import Channels
from tscl.data.sources import Source
from tscl.data.speech.recording import SpeechRecording
from tscl.data.speech.study import SpeechStudy
from tscl.errors import ConfigError, DataError, DataNotFoundError

log = logging.getLogger(__name__)

NAMES = tuple(f"{bank}{number}" for bank in "ABCD" for number in range(1, 33))
FILE_NAME = re.compile(r"(Subject\d+)_Run(\d+)\.mat")
PAUSE = 0.5


def read_text(path: str | Path) -> pd.DataFrame:
    """Read the words of a run.

    Parameters
    ----------
    path : path
        ``Run1.mat``, ... with ``wordVec``, ``onset_time`` and ``offset_time`` (s from the beginning of the sound), and
        mostly ``sentence_boundaries``.

    Returns
    -------
    DataFrame
        ``word``, ``onset`` and ``duration`` (s), ``sentence`` (from 1), in the order of the file.

    Raises
    ------
    DataError
        When the variables are missing or of different lengths.
    """
    found = read_mat(path, ("wordVec", "onset_time", "offset_time"), optional=("sentence_boundaries",))
    words = [str(word).strip() if np.size(word) else None for word in np.atleast_1d(found["wordVec"])]
    onset, offset = (np.ravel(found[name]).astype(float) for name in ("onset_time", "offset_time"))
    if not 0 < len(words) == len(onset) == len(offset):
        raise DataError(
            f"{path}: {len(words)} words in wordVec, but {len(onset)} values in onset_time and {len(offset)} in "
            "offset_time: fetch the file again."
        )
    boundaries = np.ravel(found.get("sentence_boundaries", [])).astype(float)
    sentence = sentence_numbers(onset, offset, boundaries, str(path))
    return pd.DataFrame({"word": words, "onset": onset, "duration": offset - onset, "sentence": sentence})


def sentence_numbers(onset: np.ndarray, offset: np.ndarray, boundaries: np.ndarray, path: str) -> np.ndarray:
    """Number the sentences of a run's words from 1, without gaps.

    The boundaries are read as times: words with the same number of boundaries at or before their onset are a sentence.
    Where there are none, or they cannot be times within the run (not increasing, or more than 5 s after its last word),
    a sentence is a stretch between pauses of more than 0.5 s, which is logged. Either way it depends on the text alone
    and is the same for everyone who heard it.

    Parameters
    ----------
    onset, offset : ndarray, shape (n_words,), float64
        Beginning and end of the words, s.
    boundaries : ndarray, shape (n,), float64
        ``sentence_boundaries`` of the text file, s; empty where it has none.
    path : str
        The file, for the message.

    Returns
    -------
    ndarray, shape (n_words,), int
    """
    if boundaries.size and (np.diff(boundaries) > 0).all() and boundaries[0] >= 0 and boundaries[-1] < offset.max() + 5:
        place = np.searchsorted(boundaries, onset, side="right")
    else:
        log.warning("%s has no sentence boundaries in seconds: its text is cut at pauses of %g s.", path, PAUSE)
        place = np.cumsum(np.concatenate([[False], onset[1:] - offset[:-1] > PAUSE]))
    return np.unique(place, return_inverse=True)[1] + 1


def read_broderick(path: str, *, text: str, sound: str, run: int, reference: str | None) -> SpeechRecording:
    """Read one run.

    Parameters
    ----------
    path : str
        ``Subject1_Run1.mat``, ... with ``eegData`` (T, 128) and ``mastoids`` (T, 2) in uV and ``fs`` in Hz; its first
        sample is the beginning of the sound.
    text, sound : str
        Text file and sound file of the run.
    run : int
        Its number.
    reference : {"mastoids", None}
        Whether the mean of the two mastoids is subtracted.

    Returns
    -------
    SpeechRecording
        128 channels A1 to D32, unit ``"uV"``, with positions.

    Raises
    ------
    DataError
        When a file is damaged or laid out otherwise.
    """
    names = ("eegData", "fs") if reference is None else ("eegData", "fs", "mastoids")
    found = read_mat(path, names)
    data = _samples(path, "eegData", found["eegData"], len(NAMES))
    if reference is not None:
        mastoids = _samples(path, "mastoids", found["mastoids"], 2)
        if len(mastoids) != len(data):
            raise DataError(
                f"{path}: mastoids has {len(mastoids)} samples and eegData {len(data)}: fetch the file again."
            )
        data = data - mastoids.mean(axis=1, keepdims=True)
    sfreq = np.ravel(found["fs"]).astype(float)
    if sfreq.size != 1 or not sfreq[0] > 0:
        raise DataError(f"{path}: fs is {sfreq.tolist()}, expected one sampling rate in Hz: fetch the file again.")
    words = read_text(text)
    words = words.assign(
        sequence=[f"run{run:02d}/sentence{number:03d}" for number in words["sentence"]],
        sound=sound,
        sound_onset=words["onset"],
    )
    channels = Channels(NAMES, ("eeg",) * len(NAMES), "uV", sfreq[0], montage_positions("biosemi128", NAMES))
    return SpeechRecording(data.T, channels, source=path, words=words_inside(words, len(data) / sfreq[0], source=path))


def _samples(path: str, name: str, values: Any, n_channels: int) -> np.ndarray:
    if np.ndim(values) != 2 or np.shape(values)[1] != n_channels:
        raise DataError(
            f"{path}: {name} has shape {np.shape(values)}, expected (samples, {n_channels}): fetch the original file."
        )
    return np.asarray(values, dtype=float)


class Broderick2019(SpeechStudy):
    """EEG during an audiobook (Broderick, Anderson, Di Liberto, Crosse and Lalor, Current Biology 28, 2018).

    The part "Natural Speech" of the data on Dryad (doi 10.5061/dryad.070jc): 19 people, 20 runs of about 3 min each of
    "The Old Man and the Sea", 128 BioSemi electrodes and two mastoids at 128 Hz, in uV, not filtered. Everyone heard
    the same 20 sounds. Defossez et al. 2023 call it Broderick2019.

    The Dryad archive has no sounds. The same 20 sound files are public as ``stimuli/audio01.wav`` to ``audio20.wav`` of
    OpenNeuro's ds004408, by the same laboratory: according to users of both, the archive's envelopes fit them at lag 0,
    and the first sample of a run is the first of its sound. ``audio1.wav`` and ``Run1.wav`` are taken as well.

    A sequence is a sentence of a run's text: see :func:`sentence_numbers`.

    Parameters
    ----------
    reference : {"mastoids", None}, default="mastoids"
        Subtract the mean of both mastoids, as Broderick et al. did; None keeps the values of the files, which have
        no reference.

    Raises
    ------
    ConfigError
        When the reference is another one.

    Examples
    --------
    >>> data = Broderick2019().load("broderick2019")  # doctest: +SKIP
    """

    name: ClassVar[str] = "broderick2019"
    title: ClassVar[str] = "Broderick 2019: EEG of 19 people listening to an audiobook, 128 channels"
    licence: ClassVar[str] = "CC0 1.0"
    url: ClassVar[str] = "https://doi.org/10.5061/dryad.070jc"
    access: ClassVar[str] = (
        f'Fetch the folder "Natural Speech" (EEG/Subject1/Subject1_Run1.mat, ..., Stimuli/Text/Run1.mat, ...) from '
        f"{url} and put stimuli/audio01.wav to audio20.wav of https://openneuro.org/datasets/ds004408 into its folder "
        "Stimuli/Audio."
    )
    folders: ClassVar[tuple[str, ...]] = ("broderick2018", "Broderick")
    patterns = ("Natural Speech/EEG/Subject*/Subject*_Run*.mat", "EEG/Subject*/Subject*_Run*.mat")
    expected = {"patients": 19, "recordings": 380}

    def __init__(self, reference: str | None = "mastoids") -> None:
        super().__init__()
        if reference not in ("mastoids", None):
            raise ConfigError(f"broderick2019: reference={reference!r} must be 'mastoids' or None.")
        self.reference = reference

    def sources(self, root: Path) -> list[Source]:
        """One source a run, with its text and its sound.

        Raises
        ------
        DataNotFoundError
            When the EEG files or a run's text are missing.
        """
        base = root / "Natural Speech" if (root / "Natural Speech").is_dir() else root
        sounds = self.speech or base / "Stimuli" / "Audio"
        found = []
        for path in natural_order(base.glob("EEG/Subject*/Subject*_Run*.mat")):
            match = FILE_NAME.fullmatch(path.name)
            if match is None:
                continue
            subject, run = match[1], int(match[2])
            text = base / "Stimuli" / "Text" / f"Run{run}.mat"
            if not text.is_file():
                raise DataNotFoundError(f"broderick2019: {text}, the text of {path.name}, is missing. {self.access}")
            reader = partial(
                read_broderick, text=str(text), sound=str(_sound(sounds, run)), run=run, reference=self.reference
            )
            found.append(Source(str(path), {"patient": subject, "recording": path.stem}, {"run": run}, reader=reader))
        if not found:
            raise DataNotFoundError(f"broderick2019: {base} has no EEG/Subject*/Subject*_Run*.mat. {self.access}")
        return found


def _sound(folder: Path, run: int) -> Path:
    """Return the sound file of a run under one of its names, OpenNeuro's where there is none yet."""
    choices = [folder / name for name in (f"audio{run:02d}.wav", f"audio{run}.wav", f"Run{run}.wav")]
    return next((path for path in choices if path.is_file()), choices[0])
