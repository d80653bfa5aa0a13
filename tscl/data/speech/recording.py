"""A recording of someone who listened to speech, and the table of the words that they heard."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tscl.data.recording import Recording
from tscl.errors import DataError

WORD_COLUMNS = ("onset", "duration", "word", "sequence", "sound", "sound_onset")


def words_table(rows: pd.DataFrame | list[dict[str, object]]) -> pd.DataFrame:
    """Return a table of heard words with just the columns of :class:`SpeechRecording`, in the order of their onsets.

    Parameters
    ----------
    rows : DataFrame or list of dict
        With the columns ``onset``, ``duration``, ``word``, ``sequence``, ``sound``, ``sound_onset``; others are
        dropped.

    Raises
    ------
    DataError
        When a column is missing, a time is no finite number, or a sequence or sound is missing.
    """
    table = pd.DataFrame(rows)
    missing = [name for name in WORD_COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"the table of words has no columns {missing}: it needs {list(WORD_COLUMNS)}.")
    table = table.loc[:, list(WORD_COLUMNS)]
    for name in ("onset", "duration", "sound_onset"):
        table[name] = pd.to_numeric(table[name], errors="coerce").astype(float)
        if not np.isfinite(table[name]).all():
            row = int((~np.isfinite(table[name])).to_numpy().argmax())
            raise DataError(f"row {row} of the table of words has no number in the column {name!r}: give seconds.")
    for name in ("sequence", "sound"):
        if table[name].isna().any():
            row = int(table[name].isna().to_numpy().argmax())
            raise DataError(f"row {row} of the table of words has no {name!r}: every word needs one.")
        table[name] = table[name].astype(str)
    table["word"] = np.array([None if pd.isna(word) else str(word) for word in table["word"]], dtype=object)
    return table.sort_values("onset", kind="stable", ignore_index=True)


@dataclass
class SpeechRecording(Recording):
    """A continuous recording with the words that were heard during it.

    Attributes
    ----------
    words : DataFrame, a row a word
        ``onset`` and ``duration`` (s, in the recording); ``word`` (text, None where it is not known); ``sequence``
        (text: the sentence or the part of a story, the same for every subject who heard it); ``sound`` (path of the
        sound file) and ``sound_onset`` (s, where the word begins in that file).

    Raises
    ------
    DataError
        When the table lacks a column or an onset lies outside the recording.
    """

    words: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(WORD_COLUMNS)))

    def __post_init__(self) -> None:
        super().__post_init__()
        where = self.source or self.name
        if self.words.empty:
            raise DataError(f"{where}: not one heard word is known: check the events of this recording.")
        try:
            self.words = words_table(self.words)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        outside = (self.words["onset"] < 0) | (self.words["onset"] >= self.duration)
        if outside.any():
            first = self.words[outside].iloc[0]
            raise DataError(
                f"{where}: {int(outside.sum())} of {len(outside)} word onsets lie outside the recording "
                f"({self.duration:.2f} s), the first at {first['onset']:.2f} s: the events are in seconds from its "
                "first sample, check their unit and origin."
            )
