"""The table of heard words, and the recording that carries it."""

import numpy as np
import pandas as pd
import pytest

from tscl.data.recording import Channels
from tscl.data.speech.recording import WORD_COLUMNS, SpeechRecording, words_table
from tscl.errors import DataError


def row(onset, **changed):
    given = {"duration": 0.2, "word": "so", "sequence": "s0", "sound": "a.wav", "sound_onset": 0.5}
    return {"onset": onset, **given, **changed}


def recording(words, seconds=4.0, source=""):
    channels = Channels(("A", "B"), ("eeg", "eeg"), "uV", 100.0)
    ids = {"patient": "P1"}
    return SpeechRecording(np.zeros((2, round(seconds * 100))), channels, ids, source=source, words=pd.DataFrame(words))


def test_words_come_in_the_order_of_their_onsets_with_just_their_columns():
    table = words_table([row(3, note="x"), row("1.5", word=7, sequence=4), row(2, word=None), row(2, word=np.nan)])
    assert list(table.columns) == list(WORD_COLUMNS)
    assert table["onset"].tolist() == [1.5, 2.0, 2.0, 3.0]
    assert table["word"].tolist() == ["7", None, None, "so"]
    assert table["sequence"].tolist() == ["4", "s0", "s0", "s0"]
    assert table["sound"].tolist() == ["a.wav"] * 4
    assert [table[name].dtype for name in ("onset", "duration", "sound_onset")] == [np.float64] * 3
    assert table.index.tolist() == [0, 1, 2, 3]


def test_words_at_one_time_keep_their_order():
    assert words_table([row(2, word="b"), row(1), row(2, word="a")])["word"].tolist() == ["so", "b", "a"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"onset": 1.0, "word": "so"}], r"no columns \['duration', 'sequence', 'sound', 'sound_onset'\]"),
        ([row(1), row(2, duration="long")], "row 1 of the table of words has no number in the column 'duration'"),
        ([row(1), row(2), row(3, sound_onset=np.inf)], "row 2 .* 'sound_onset'"),
        ([row(1), row(2, sequence=None)], "row 1 of the table of words has no 'sequence'"),
        ([row(1, sound=np.nan)], "row 0 of the table of words has no 'sound'"),
    ],
)
def test_wrong_tables_are_refused(rows, said):
    with pytest.raises(DataError, match=said):
        words_table(rows)


def test_a_recording_keeps_its_words():
    made = recording([row(3.99), row(0.0)])
    assert made.words["onset"].tolist() == [0.0, 3.99]
    assert made.data.dtype == np.float32


@pytest.mark.parametrize("onset", [-0.01, 4.0, 250.0])
def test_onsets_outside_the_recording_are_refused(onset):
    with pytest.raises(DataError, match=r"x\.fif: 1 of 2 word onsets .*\(4\.00 s\), the first at " + f"{onset:.2f} s"):
        recording([row(1.0), row(onset)], source="x.fif")


def test_recordings_without_words_and_with_wrong_ones_name_the_file():
    with pytest.raises(DataError, match=r"x\.fif: not one heard word"):
        recording([], source="x.fif")
    with pytest.raises(DataError, match="P1: not one heard word"):
        SpeechRecording(np.zeros((1, 9)), Channels(("A",), ("eeg",), "uV", 100.0), {"patient": "P1"})
    with pytest.raises(DataError, match=r"x\.fif: row 0 .* 'onset'"):
        recording([row(1.0) | {"onset": "soon"}], source="x.fif")
