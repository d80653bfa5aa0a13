"""Which words a sound file holds, and when."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tscl.data.speech.sounds import read_sound
from tscl.data.speech.tables import read_text_table
from tscl.errors import DataError

RATE = 16_000.0
"""Sampling rate (Hz) at which sounds are looked at: a step has a whole number of samples."""
STEP = 0.01
"""Seconds of a step of the sound's envelope."""
QUIET = 0.08
"""Below this share of the loudest tenth the sound counts as a pause."""
PAUSE = 0.18
"""A shorter pause (s) ends no sequence."""


def words_of_sound(path: str | Path, shortest: float = 3.0, longest: float = 8.0) -> pd.DataFrame:
    """Tell the words of a sound file from the table or the transcript beside it.

    A table ``<stem>.tsv`` (``onset``, ``duration`` in seconds, ``word``, and ``sequence`` where it is known) is taken
    as it is. From a transcript ``<stem>.txt`` the words are laid out over the time in which the sound is not silent,
    each as long as it has letters: roughly right. Without either, every rise of the sound's loudness counts as a word
    without a name.

    Parameters
    ----------
    path : path
        WAV file.
    shortest, longest : float
        Where no sequences are given: one ends at the first pause after ``shortest`` seconds, or after ``longest``.

    Returns
    -------
    DataFrame
        ``onset``, ``duration`` (s), ``word`` (None where unknown), ``sequence`` (``<stem>/000``, ...).

    Raises
    ------
    DataError
        When the table lacks a column or a time, or the sound holds nothing like a word.
    """
    path = Path(path)
    table = path.with_suffix(".tsv")
    if table.is_file():
        words = _read_table(table)
    else:
        loud = _loudness(path)
        transcript = path.with_suffix(".txt")
        words = _spread(transcript.read_text().split(), loud) if transcript.is_file() else _rises(loud)
    if words.empty:
        raise DataError(f"{path} holds nothing like a word: it is silent, or its table is empty.")
    words = words.sort_values("onset", kind="stable", ignore_index=True)
    if "sequence" not in words.columns:
        words["sequence"] = _sequences(words, shortest, longest)
    words["sequence"] = [f"{path.stem}/{one}" for one in words["sequence"].fillna("")]
    return words


def _read_table(path: Path) -> pd.DataFrame:
    words = read_text_table(path, ["onset", "duration", "word"])
    for name in ("onset", "duration"):
        words[name] = pd.to_numeric(words[name], errors="coerce").astype(float)
        if not np.isfinite(words[name]).all():
            raise DataError(f"{path} has rows without a number in the column {name!r}: give seconds.")
    return words


def _loudness(path: Path) -> np.ndarray:
    """Root mean square of every 10 ms, as a share of the loudest tenth; of less than 10 ms, one silent step."""
    sound, sfreq = read_sound(path, RATE)
    width = round(STEP * sfreq)
    n = len(sound) // width
    if n == 0:
        return np.zeros(1)
    loud = np.sqrt((sound[: n * width].reshape(n, width) ** 2).mean(axis=1))
    loud = np.convolve(loud, np.hanning(7) / np.hanning(7).sum(), mode="same")
    return loud / max(float(np.percentile(loud, 90)), 1e-9)


def _spread(names: list[str], loud: np.ndarray) -> pd.DataFrame:
    """Lay words out over the time that is not silent, in proportion to their letters."""
    spoken = np.cumsum(loud > QUIET) * STEP
    if not names or spoken[-1] == 0:
        return pd.DataFrame({"onset": [], "duration": [], "word": []})
    letters = np.array([len(name) + 1 for name in names], dtype=float)
    edges = np.concatenate([[0.0], np.cumsum(letters)]) / letters.sum() * spoken[-1]
    at = np.searchsorted(spoken, edges + 1e-9, side="left").clip(max=len(spoken) - 1) * STEP
    ends = np.searchsorted(spoken, edges[1:] - 1e-9, side="left") * STEP
    return pd.DataFrame({"onset": at[:-1], "duration": np.maximum(ends - at[:-1], STEP), "word": names})


def _rises(loud: np.ndarray) -> pd.DataFrame:
    from scipy.signal import find_peaks

    rise = np.diff(loud, prepend=0.0)
    peaks, _ = find_peaks(rise, height=0.02, distance=round(0.2 / STEP))
    onset = peaks * STEP
    duration = np.minimum(np.diff(onset, append=len(loud) * STEP), 0.4)
    return pd.DataFrame({"onset": onset, "duration": duration, "word": [None] * len(onset)})


def _sequences(words: pd.DataFrame, shortest: float, longest: float) -> list[str]:
    number, begun, last = 0, float(words["onset"].iloc[0]), float(words["onset"].iloc[0])
    names = []
    for onset, duration in zip(words["onset"], words["duration"], strict=True):
        lasts = onset - begun
        if lasts >= longest or (lasts >= shortest and onset - last > PAUSE):
            number, begun = number + 1, onset
        names.append(f"{number:03d}")
        last = onset + duration
    return names
