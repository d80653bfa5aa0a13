"""Windows of brain and speech, against an explicit cut."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from speech_corpora import N_FEATURES, SFREQ, corpus_of, evenly, features_of, three_listeners

from tscl.data.speech.windows import SpeechWindows
from tscl.errors import DataError


def cut_slowly(corpus, features, word, seconds, delay, baseline, clip):
    """The brain window (C, T) and the speech window (F, T) of one word, sample by sample."""
    n = round(seconds * SFREQ)
    data = corpus.recordings[word["recording"]].data
    brain = np.full((max(len(one.data) for one in corpus.recordings), n), np.nan)
    first = round((word["onset"] + delay) * SFREQ)
    for channel in range(len(data)):
        values = [float(data[channel, first + k]) for k in range(n)]
        before = values[: round(baseline * SFREQ)]
        level = sum(before) / len(before) if before else 0.0
        brain[channel] = [min(max(value - level, -clip), clip) for value in values]
    first = round(word["sound_onset"] * SFREQ)
    return brain, np.stack([features[word["sound"]][:, first + k] for k in range(n)], axis=1)


def whole_words(corpus, features, seconds, delay):
    n = round(seconds * SFREQ)
    keep = [
        round((w["onset"] + delay) * SFREQ) + n <= corpus.recordings[w["recording"]].data.shape[1]
        and round(w["sound_onset"] * SFREQ) + n <= features[w["sound"]].shape[1]
        for _, w in corpus.words.iterrows()
    ]
    return corpus.words[keep]


@pytest.mark.parametrize(
    ("seconds", "delay", "baseline", "clip"), [(3.0, 0.15, 0.5, 20.0), (1.0, 0.0, 0.0, 4.0), (2.0, 0.333, 2.0, 1.0)]
)
def test_every_window_is_the_explicit_cut(seconds, delay, baseline, clip):
    corpus = three_listeners()
    features = features_of(corpus)
    windows = SpeechWindows(corpus, features, None, seconds, delay, baseline, clip)
    words = whole_words(corpus, features, seconds, delay)
    assert len(windows) == len(words)
    assert windows.left_out == len(corpus.words) - len(words) > 0
    assert windows.shape == (len(words), 3, round(seconds * SFREQ))
    batch = windows[:]
    for i, (_, word) in enumerate(words.iterrows()):
        brain, speech = cut_slowly(corpus, features, word, seconds, delay, baseline, clip)
        np.testing.assert_allclose(batch.x[i].numpy(), brain, atol=1e-5)
        np.testing.assert_array_equal(batch.paired["speech"][i].numpy(), speech)
        assert windows.metadata["onset"][i] == round((word["onset"] + delay) * SFREQ) / SFREQ
        assert windows.metadata["sequence"][i] == word["sequence"]
        assert windows.metadata["source"][i] == f"file{word['recording']}"
    assert batch.x.dtype == batch.paired["speech"].dtype == torch.float32


def test_missing_values_stay_missing_and_do_not_count_in_the_baseline():
    corpus = three_listeners()
    windows = SpeechWindows(corpus, features_of(corpus))
    first = int(windows.signals.start[0])
    corpus.recordings[0].data[0, first : first + 10] = np.nan
    corpus.recordings[0].data[1, first : first + 60] = np.nan
    x = windows[0].x[0].numpy()
    raw = corpus.recordings[0].data[:, first : first + 360].astype(float)
    assert np.isnan(x[0, :10]).all()
    np.testing.assert_allclose(x[0, 10:], raw[0, 10:] - raw[0, 10:60].mean(), atol=1e-5)
    np.testing.assert_allclose(x[1, 60:], np.clip(raw[1, 60:], -20, 20), atol=1e-5)
    assert not np.isnan(x[2]).any()


def test_segments_are_shared_by_everyone_who_heard_the_same():
    corpus = three_listeners()
    windows = SpeechWindows(corpus, features_of(corpus))
    table = windows.metadata
    by_segment = table.groupby("segment")
    assert sorted(table["segment"].unique()) == list(range(table["segment"].nunique()))
    assert (by_segment[["sound", "sound_onset"]].nunique() == 1).all(axis=None)
    assert (by_segment["patient"].nunique() == 3).all()
    assert table["segment"].nunique() == len(table.drop_duplicates(["sound", "sound_onset"]))
    batch = windows[:]
    assert batch.levels["segment"].tolist() == table["segment"].tolist()
    for segment in (0, 7):
        rows = np.flatnonzero(table["segment"] == segment)
        assert (batch.paired["speech"][rows] == batch.paired["speech"][rows[0]]).all()


def test_subjects_have_an_index_and_strangers_minus_one():
    corpus = three_listeners()
    windows = SpeechWindows(corpus, features_of(corpus), subjects=["S3", "S9", "S1"])
    expected = windows.metadata["patient"].map({"S3": 0, "S1": 2, "S2": -1})
    batch = windows[:]
    assert batch.sensors.subject.tolist() == expected.tolist()
    assert windows.subjects == ["S3", "S9", "S1"]
    assert SpeechWindows(corpus, features_of(corpus)).subjects == ["S1", "S2", "S3"]
    for i in (0, len(windows) // 2, len(windows) - 1):
        places = corpus.recordings[windows.metadata["recording_number"][i]].positions
        np.testing.assert_array_equal(batch.sensors.positions[i, : len(places)], places)
        assert torch.isnan(batch.sensors.positions[i, len(places) :]).all()


def test_a_selection_is_the_same_windows():
    corpus = three_listeners()
    windows = SpeechWindows(corpus, features_of(corpus)).standardised(np.arange(4.0), np.arange(1.0, 5))
    whole = windows[:]
    chosen = np.random.default_rng(0).permutation(len(windows))[:20]
    part = windows.select(chosen).select(np.arange(19, 4, -1))
    rows = chosen[19:4:-1].copy()
    got = part[:]
    np.testing.assert_array_equal(got.x, whole.x[rows])
    np.testing.assert_array_equal(got.paired["speech"], whole.paired["speech"][rows])
    np.testing.assert_array_equal(got.levels["segment"], whole.levels["segment"][rows])
    np.testing.assert_array_equal(got.sensors.positions, whole.sensors.positions[rows])
    np.testing.assert_array_equal(got.sensors.subject, whole.sensors.subject[rows])
    assert part.metadata["sequence"].tolist() == windows.metadata["sequence"].iloc[rows].tolist()
    assert isinstance(part, SpeechWindows)
    assert len(windows.select("patient == 'S2'")[:].levels["patient"].unique()) == 1
    assert windows.select("patient == 'S2'").codes("patient").max() == 0
    assert len(part[3]) == len(part[[3]]) == len(part[-1]) == 1
    assert len(windows.select([])) == 0


def test_standardised_speech():
    corpus = three_listeners()
    features = features_of(corpus)
    windows = SpeechWindows(corpus, features)
    mean, scale = np.arange(N_FEATURES, dtype=float), np.arange(1.0, N_FEATURES + 1)
    plain, done = windows[:5].paired["speech"].numpy(), windows.standardised(mean, scale)[:5].paired["speech"].numpy()
    np.testing.assert_allclose(done, (plain - mean[:, None]) / scale[:, None], atol=1e-6)
    np.testing.assert_array_equal(windows[:5].paired["speech"].numpy(), plain)
    assert windows.n_features == N_FEATURES


def test_windows_on_a_grid_begin_every_stride():
    corpus = three_listeners()
    features = features_of(corpus)
    windows = SpeechWindows(corpus, features, stride=0.25)
    table = windows.metadata
    for (_, number), group in table.groupby(["sound", "recording_number"]):
        np.testing.assert_allclose(group["sound_onset"], np.arange(1, len(group) + 1) * 0.25)
        assert len(group) == 4 * 17
        shift = (corpus.words["onset"] - corpus.words["sound_onset"])[
            (corpus.words["recording"] == number) & (corpus.words["sound"] == group["sound"].iloc[0])
        ].iloc[0]
        np.testing.assert_allclose(group["onset"], group["sound_onset"] + shift + 0.15, atol=0.5 / SFREQ)
    words = corpus.words[corpus.words["recording"] == 0].set_index("sound")
    for _, one in table[table["recording_number"] == 0].iterrows():
        before = words.loc[one["sound"]]
        latest = before[before["sound_onset"] <= one["sound_onset"] + 1e-9].iloc[-1]
        assert one["sequence"] == latest["sequence"]
    word = pd.Series({**corpus.grid(0.25).iloc[3].to_dict()})
    brain, speech = cut_slowly(corpus, features, word, 3.0, 0.15, 0.5, 20.0)
    np.testing.assert_allclose(windows[3].x[0].numpy(), brain, atol=1e-5)
    np.testing.assert_array_equal(windows[3].paired["speech"][0].numpy(), speech)


def test_a_grid_covers_each_time_that_a_sound_was_heard():
    corpus = corpus_of({"a": (6.0, evenly("a", 6.0))}, [("S1", "aa")])
    grid = corpus.grid(0.5)
    assert grid["sound_onset"].tolist() == [0.5 * k for k in range(1, 11)] * 2
    np.testing.assert_allclose(grid["onset"] - grid["sound_onset"], [1.0] * 10 + [8.0] * 10)


def test_words_before_the_recording_or_the_sound_are_left_out():
    corpus = three_listeners()
    corpus.words.loc[0, "sound_onset"] = -0.1
    windows = SpeechWindows(corpus, features_of(corpus), delay=-1.5)
    early = (corpus.words["onset"] < 1.5 - 0.5 / SFREQ) | (corpus.words["sound_onset"] < 0)
    late = corpus.words["sound_onset"] > 17.001
    assert early.sum() == 3
    assert windows.left_out == (early | late).sum()
    assert np.isfinite(windows[0].x[0].numpy()).all()


def test_recordings_of_one_montage_keep_its_channels():
    corpus = three_listeners()
    assert SpeechWindows(corpus, features_of(corpus)).channels.names == ("sensor 1", "sensor 2", "sensor 3")
    corpus.recordings[1] = dataclasses.replace(corpus.recordings[0], ids=corpus.recordings[1].ids)
    assert SpeechWindows(corpus, features_of(corpus)).channels == corpus.recordings[0].channels


def test_no_whole_window_is_refused():
    corpus = three_listeners()
    with pytest.raises(DataError, match="not one of 294 words is followed by 21 s"):
        SpeechWindows(corpus, features_of(corpus), seconds=21.0)
