"""Words of a sound file from a table, a transcript or the sound alone, and the synthetic speech."""

import numpy as np
import pandas as pd
import pytest
from scipy.io import wavfile

from tscl.data.speech.sounds import read_sound
from tscl.data.speech.synthesis import synthesise_speech
from tscl.data.speech.words import words_of_sound
from tscl.errors import DataError


def write_bursts(path, bursts, seconds, rate=22050):
    """Write noise between the given times (s), silence elsewhere."""
    times = np.arange(round(seconds * rate)) / rate
    loud = np.any([(times >= start) & (times < stop) for start, stop in bursts], axis=0)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, len(times))
    wavfile.write(path, rate, (loud * noise).astype(np.float32))
    return path


def test_a_table_is_taken_as_it_is(tmp_path):
    path = tmp_path / "story.wav"
    (tmp_path / "story.tsv").write_text(
        "word\tonset\tduration\tsequence\nsecond\t1.5\t0.25\ts1\nnull\t0.5\t0\ts0\n\t2\t1\ts1\n"
    )
    words = words_of_sound(path)
    assert words["onset"].tolist() == [0.5, 1.5, 2.0]
    assert words["duration"].tolist() == [0.0, 0.25, 1.0]
    assert words["word"].where(words["word"].notna(), None).tolist() == ["null", "second", None]
    assert words["sequence"].tolist() == ["story/s0", "story/s1", "story/s1"]


def test_sequences_end_at_pauses_or_when_they_are_long(tmp_path):
    onsets = [0.0, 1.0, 2.5, 3.2, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.5]
    table = pd.DataFrame({"onset": onsets, "duration": [0.6, 0.9, 0.6] + [1.0] * 8, "word": "x"})
    table.loc[3, "duration"] = 1.7
    table.to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    got = words_of_sound(tmp_path / "a.wav", shortest=3.0, longest=8.0)["sequence"].tolist()
    # A pause at 1.0 and 2.5 s comes too early, none lies before 3.2 and 5 s, and 8 s are full at 8.0 s.
    assert got == ["a/000"] * 7 + ["a/001"] * 3 + ["a/002"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("onset\tword\n1\tx\n", r"a\.tsv has no columns \['duration'\]"),
        ("onset\tduration\tword\nsoon\t1\tx\n", r"a\.tsv has rows without a number in the column 'onset'"),
        ("onset\tduration\tword\n1\t\tx\n", r"a\.tsv has rows without a number in the column 'duration'"),
        ("onset\tduration\tword\n", r"a\.wav holds nothing like a word"),
    ],
)
def test_wrong_tables_are_refused(tmp_path, table, said):
    (tmp_path / "a.tsv").write_text(table)
    with pytest.raises(DataError, match=said):
        words_of_sound(tmp_path / "a.wav")


def test_a_transcript_is_laid_out_where_the_sound_is_loud(tmp_path):
    path = write_bursts(tmp_path / "a.wav", [(1.0, 3.0), (6.0, 8.0)], 9.0)
    (tmp_path / "a.txt").write_text("one two three\nfour five six seven eight")
    words = words_of_sound(path)
    assert words["word"].tolist() == ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    onsets, ends = words["onset"].to_numpy(), (words["onset"] + words["duration"]).to_numpy()
    assert (np.diff(onsets) > 0).all()
    assert onsets[0] == pytest.approx(1.0, abs=0.05)
    assert ends[-1] == pytest.approx(8.0, abs=0.05)
    assert not ((onsets > 3.06) & (onsets < 5.94)).any()
    letters = np.array([len(word) + 1 for word in words["word"]])
    edges = np.concatenate([[0], np.cumsum(letters)]) / letters.sum() * 4
    expected = np.where(edges < 2, 1 + edges, 4 + edges)[:-1]
    np.testing.assert_allclose(onsets, expected, atol=0.08)
    # The word that is said when the pause begins lasts until it is over.
    whole = np.isin(words["word"], ["one", "two", "six", "seven", "eight"])
    np.testing.assert_allclose((ends - onsets)[whole], (letters / letters.sum() * 4)[whole], atol=0.06)


def test_times_do_not_drift_in_a_long_sound_of_an_odd_rate(tmp_path):
    path = write_bursts(tmp_path / "a.wav", [(0.5, 1.0), (118.0, 119.0)], 120.0, rate=11025)
    onsets = words_of_sound(path)["onset"]
    assert onsets.iloc[0] == pytest.approx(0.5, abs=0.05)
    assert onsets[onsets > 60].iloc[0] == pytest.approx(118.0, abs=0.05)
    assert onsets.max() < 119.1


def test_without_text_every_rise_is_a_word(tmp_path):
    bursts = [(0.5 + k, 0.9 + k) for k in range(8)]
    words = words_of_sound(write_bursts(tmp_path / "a.wav", bursts, 9.0))
    assert words["word"].isna().all()
    for start, _ in bursts:
        assert np.abs(words["onset"] - start).min() < 0.05
    assert (words["duration"] <= 0.4).all()
    assert ((words["onset"] + words["duration"]) <= 9.0 + 1e-9).all()
    assert words["sequence"].nunique() > 1


@pytest.mark.parametrize("text", [None, "some words", ""])
@pytest.mark.parametrize("n", [50, 16_000])
def test_silence_is_refused(tmp_path, text, n):
    wavfile.write(tmp_path / "a.wav", 16_000, np.zeros(n, np.int16))
    if text is not None:
        (tmp_path / "a.txt").write_text(text)
    with pytest.raises(DataError, match=r"a\.wav holds nothing like a word"):
        words_of_sound(tmp_path / "a.wav")


# -- synthetic speech ------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_speech(tmp_path):
    one, same, other = (
        synthesise_speech(tmp_path / name, 0.1, seed) for name, seed in zip("abc", (0, 0, 1), strict=True)
    )
    assert sorted(path.name for path in one.iterdir()) == ["speech00.tsv", "speech00.wav"]
    for name in ("speech00.tsv", "speech00.wav"):
        assert (one / name).read_bytes() == (same / name).read_bytes() != (other / name).read_bytes()


def test_words_are_where_the_sound_is_loud(tmp_path):
    path = synthesise_speech(tmp_path / "speech", 0.4) / "speech00.wav"
    sound, sfreq = read_sound(path)
    words = words_of_sound(path)
    assert sfreq == 16_000
    assert 24 <= len(sound) / sfreq < 32
    assert np.abs(sound).max() == pytest.approx(0.9, abs=1e-3)
    said = np.zeros(len(sound), dtype=bool)
    for _, word in words.iterrows():
        cut = slice(round(word["onset"] * sfreq), round((word["onset"] + word["duration"]) * sfreq))
        said[cut] = True
        assert np.sqrt((sound[cut] ** 2).mean()) > 0.01
    assert np.abs(sound[~said]).max() < 0.02
    assert (words["onset"].diff().dropna() >= words["duration"].iloc[:-1].to_numpy()).all()
    lengths = words.groupby("sequence").size()
    assert lengths.between(5, 11).all()
    assert words["word"].duplicated().any()


def test_nothing_is_made_twice_and_other_files_are_left_alone(tmp_path):
    folder = synthesise_speech(tmp_path / "speech", 0.1)
    (folder / "speech00.tsv").write_text("mine")
    assert synthesise_speech(folder, 0.1, seed=1) == folder
    assert (folder / "speech00.tsv").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert (synthesise_speech(tmp_path / "empty", 0.1) / "speech00.wav").is_file()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "note.txt").write_text("x")
    with pytest.raises(DataError, match="notes has files, but no WAV files"):
        synthesise_speech(tmp_path / "notes", 0.1)
