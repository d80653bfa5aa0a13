"""Sides that share no speech: a property over random corpora, cases by hand, and the guard itself."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speech_corpora import SFREQ, corpus_of, evenly, features_of, three_listeners

from tscl.data.leakage import check_stimuli
from tscl.data.speech.split import sequence_blocks, split_by_manifest, split_speech
from tscl.data.speech.windows import SpeechWindows
from tscl.errors import DataError, LeakageError

SECONDS = 1.5


def windows_of(corpus, **options):
    return SpeechWindows(corpus, features_of(corpus), **{"seconds": SECONDS, **options})


@st.composite
def corpora(draw):
    """Several sounds with random words and sequences, some of which recur, heard in random order, twice, or at once."""
    sounds = {}
    for name in draw(st.sampled_from(["a", "ab", "abc"])):
        rng = np.random.default_rng(draw(st.integers(0, 10_000)))
        onsets = np.cumsum(
            rng.choice([0.0, 0.004, 0.2, 0.7], size=draw(st.integers(30, 60)), p=[0.02, 0.03, 0.55, 0.4])
        )
        sequence = np.cumsum(rng.random(len(onsets)) < draw(st.sampled_from([0.05, 0.2, 1.0])))
        share = draw(st.sampled_from(["", name]))
        words = [
            (float(t), float(rng.choice([0.0, 0.2])), f"{share}{s}") for t, s in zip(onsets, sequence, strict=True)
        ]
        sounds[name] = (float(onsets[-1] + 2), words)
    orders = st.permutations(list(sounds)) | st.just([*sounds, *sounds])
    heard = [(f"S{i}", draw(orders)) for i in range(draw(st.integers(1, 3)))]
    return corpus_of(
        sounds, heard, gap=draw(st.sampled_from([-4.0, 0.0, 0.5])), known=draw(st.sampled_from([1.0, 0.5]))
    )


def assert_apart(split):
    """Compare every pair of windows of two sides."""
    sides = list(split.sides.values())
    for i, first in enumerate(sides):
        for second in sides[i + 1 :]:
            one, two = first.metadata, second.metadata
            assert not set(one["sequence"]) & set(two["sequence"])
            for where, begin in (("sound", "sound_onset"), ("source", "onset")):
                same = one[where].to_numpy()[:, None] == two[where].to_numpy()
                apart = np.abs(one[begin].to_numpy()[:, None] - two[begin].to_numpy())
                assert not (same & (apart < SECONDS - 1e-5)).any()
            starts = [side.sound_start[side.rows] for side in (first, second)]
            same = one["sound"].to_numpy()[:, None] == two["sound"].to_numpy()
            assert not (same & (np.abs(starts[0][:, None] - starts[1]) < round(SECONDS * SFREQ))).any()


@settings(max_examples=40, deadline=None)
@given(corpora(), st.sampled_from([0.0, 2.0, 6.0]), st.integers(0, 5), st.sampled_from([None, 0.3, 0.5]))
def test_no_speech_stands_on_two_sides(corpus, block_seconds, seed, stride):
    windows = windows_of(corpus)
    grid = None if stride is None else windows_of(corpus, stride=stride)
    try:
        split = split_speech(windows, 0.2, 0.3, block_seconds, seed, grid)
    except DataError:
        return  # Two or three blocks that reach into each other leave a side empty.
    assert_apart(split)
    block = sequence_blocks(corpus.words, block_seconds)
    side_of = {one: name for name, ids in split.ids.items() for one in ids}
    assert all(set(side.metadata["sequence"]) <= set(split.ids[name]) for name, side in split.sides.items())
    sides_of_block = pd.Series(side_of).groupby(block).nunique()
    assert (sides_of_block == 1).all()
    manifest = json.loads(json.dumps(split.manifest))
    again = split_by_manifest(windows, manifest, grid)
    for name, side in split.sides.items():
        np.testing.assert_array_equal(again.sides[name].rows, side.rows)


def long_corpus(subjects=2, sounds=6, seconds=60.0):
    made = {name: (seconds, evenly(name, seconds)) for name in "abcdef"[:sounds]}
    heard = [(f"S{i}", list(np.roll(list(made), i))) for i in range(subjects)]
    return corpus_of(made, heard, sensors=(1,))


def test_sides_have_their_shares_and_are_the_same_for_everyone():
    windows = windows_of(long_corpus())
    split = split_speech(windows, 0.1, 0.2, block_seconds=6.0)
    shares = {name: side.metadata["segment"].nunique() / 894 for name, side in split.sides.items()}
    assert shares["test"] == pytest.approx(0.2 * 0.75, abs=0.05)
    assert shares["val"] == pytest.approx(0.1 * 0.75, abs=0.04)
    assert shares["train"] == pytest.approx(0.7 * 0.85, abs=0.1)
    ids = {name: len(ids) / 180 for name, ids in split.ids.items()}
    assert ids == pytest.approx({"train": 0.7, "val": 0.1, "test": 0.2}, abs=0.025)
    for side in split.sides.values():
        heard = side.metadata.groupby("patient")[["sound", "sound_onset"]].apply(
            lambda t: set(map(tuple, t.to_numpy()))
        )
        assert heard["S0"] == heard["S1"]


def test_the_draw_depends_on_the_seed_alone():
    corpus = long_corpus()
    windows = windows_of(corpus)
    one, same, other = (split_speech(windows, seed=seed, block_seconds=6.0) for seed in (3, 3, 4))
    assert one.manifest == same.manifest
    assert one.manifest["seed"] == 3
    assert one.manifest["test"]["ids"] != other.manifest["test"]["ids"]
    fewer = windows_of(long_corpus(subjects=1))
    assert split_speech(fewer, seed=3, block_seconds=6.0).manifest["test"]["ids"] == one.manifest["test"]["ids"]


def test_blocks_are_consecutive_sequences_that_last_long_enough():
    words = long_corpus(subjects=1).words
    block = pd.Series(sequence_blocks(words, 6.0))
    table = words.drop_duplicates("sequence").assign(block=lambda t: t["sequence"].map(block))
    for _, heard in table.groupby("sound"):
        numbers = heard.sort_values("sound_onset")["block"].tolist()
        assert numbers == [number for one in dict.fromkeys(numbers) for number in [one] * numbers.count(one)]
        assert [numbers.count(one) for one in dict.fromkeys(numbers)] == [3] * 10
    assert table.groupby("block")["sound"].nunique().max() == 1
    alone = sequence_blocks(words, 0.0)
    assert len(set(alone.values())) == len(alone) == 180


def test_blocks_that_share_a_sequence_are_one():
    words = pd.DataFrame(
        [("x", "s1", 0.0), ("x", "s2", 9.0), ("y", "s2", 0.0), ("y", "s3", 1.0), ("y", "s4", 9.0)],
        columns=["sound", "sequence", "sound_onset"],
    )
    block = sequence_blocks(words, 5.0)
    assert block["s2"] == block["s3"]
    assert len({block[one] for one in ("s1", "s2", "s4")}) == 3


def test_words_of_no_duration_work():
    corpus = three_listeners()
    corpus.words["duration"] = 0.0
    assert_apart(split_speech(windows_of(corpus), 0.2, 0.3, block_seconds=0.0))


def test_words_that_subjects_have_in_different_sequences_are_left_out():
    corpus = three_listeners()
    odd = (corpus.words["recording"] == 2) & (corpus.words["sequence"] == "a/004")
    corpus.words.loc[odd, "sequence"] = "other"
    for seed in range(6):
        assert_apart(split_speech(windows_of(corpus), 0.2, 0.3, block_seconds=0.0, seed=seed))


def onsets_by_hand(corpus, stride=None):
    """Split p for training from q for testing; where in their sounds the windows of both begin."""
    manifest = {"train": {"ids": ["p"]}, "val": {"ids": []}, "test": {"ids": ["q"]}}
    train = None if stride is None else windows_of(corpus, stride=stride)
    split = split_by_manifest(windows_of(corpus), manifest, train)
    assert_apart(split)
    return [side.metadata["sound_onset"].tolist() for side in (split.train, split.test)]


def test_windows_reach_into_words_that_only_others_know():
    sounds = {"a": (12.0, [(1.0, 0.2, "p"), (2.0, 0.2, "q"), (5.0, 0.2, "p"), (8.0, 0.2, "q")])}
    corpus = corpus_of(sounds, [("S1", "a"), ("S2", "a")])
    mine = corpus.words["sequence"].map({"p": 0, "q": 1})
    corpus.words = corpus.words[corpus.words["recording"] == mine].reset_index(drop=True)
    assert onsets_by_hand(corpus) == [[5.0], [2.0, 8.0]]


def test_windows_reach_into_another_sound_of_the_recording():
    first, second = 120.6 / SFREQ, 120.8 / SFREQ  # Cut at the same step.
    for one, other, left in ((1.0, 2.4, [2.4, 8.0]), (1.0, 2.5, [2.5, 8.0]), (first, second, [8.0])):
        sounds = {
            "a": (12.0, [(one, 0.2, "p"), (5.0, 0.2, "p")]),
            "b": (12.0, [(other, 0.2, "q"), (8.0, 0.2, "q")]),
        }
        train = [1.0, 5.0] if other == 2.5 else [5.0]
        assert onsets_by_hand(corpus_of(sounds, [("S1", "ab")], gap=-12.0)) == [train, left]


def test_a_word_that_subjects_have_in_two_sequences_is_on_neither_side():
    words = [(1.0, 0.2, "q"), (9.0, 0.2, "q"), (1.0, 0.2, "p"), (6.0, 0.2, "p")]
    corpus = corpus_of({"a": (12.0, words)}, [("S1", "a"), ("S2", "a")])
    mine = corpus.words["sequence"].map({"q": 0, "p": 1})
    corpus.words = corpus.words[corpus.words["recording"] == mine].reset_index(drop=True)
    assert onsets_by_hand(corpus) == [[6.0], [9.0]]
    assert onsets_by_hand(corpus, stride=0.5) == [[0.5 * k for k in range(3, 13)], [9.0]]


def test_windows_between_words_keep_clear_of_windows_at_words_that_only_others_know():
    sounds = {"a": (14.0, [(1.0, 0.2, "p"), (3.0, 0.2, "q"), (6.0, 0.2, "p"), (11.0, 0.2, "q")])}
    corpus = corpus_of(sounds, [("S1", "a"), ("S2", "a")])
    mine = corpus.words["sequence"].map({"p": 0, "q": 1})
    corpus.words = corpus.words[corpus.words["recording"] == mine].reset_index(drop=True)
    # Of S1, 2 to 4 s would reach into the window at 3 s, in which S2 hears no word of S1's.
    assert onsets_by_hand(corpus, stride=0.5) == [[1.0, 1.5, 4.5, 5.0, 5.5, 6.0], [3.0, 11.0]]


def test_windows_on_a_grid_replace_the_training_side_only():
    windows = windows_of(long_corpus())
    plain = split_speech(windows, block_seconds=6.0)
    split = split_speech(windows, block_seconds=6.0, train=windows_of(windows.corpus, stride=0.1))
    assert_apart(split)
    np.testing.assert_array_equal(split.val.rows, plain.val.rows)
    np.testing.assert_array_equal(split.test.rows, plain.test.rows)
    assert set(split.train.metadata["sequence"]) <= set(windows.metadata["sequence"])
    assert len(split.train) > 3 * len(plain.train)
    assert split.manifest["train"]["windows"] == len(split.train)


def test_features_are_standardised_by_the_sound_of_the_training_side():
    windows = windows_of(three_listeners())
    split = split_speech(windows, 0.2, 0.3, block_seconds=3.0)
    heard = {(sound, start + k) for sound, start in zip(
        split.train.metadata["sound"], split.train.sound_start[split.train.rows], strict=True
    ) for k in range(round(SECONDS * SFREQ))}  # fmt: skip
    values = np.stack([windows.features[sound][:, step] for sound, step in heard]).astype(float)
    np.testing.assert_allclose(split.train.mean.ravel(), values.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(split.train.scale.ravel(), values.std(axis=0), rtol=1e-5)
    for side in split.sides.values():
        np.testing.assert_array_equal(side.mean, split.train.mean)
        plain = windows.speech(np.flatnonzero(np.isin(windows.rows, side.rows)))
        expected = (plain - split.train.mean) / split.train.scale
        np.testing.assert_allclose(side[:].paired["speech"].numpy(), expected, atol=1e-5)
    assert split.manifest["speech"]["scale"] == split.train.scale.ravel().tolist()


def test_features_that_never_change_are_only_centred():
    windows = windows_of(three_listeners())
    for values in windows.features.values():
        values[1] = 7
    split = split_speech(windows, 0.2, 0.3, block_seconds=3.0)
    assert (split.train.mean[1, 0], split.train.scale[1, 0]) == (7, 1)


def test_the_manifest_says_what_is_where():
    split = split_speech(windows_of(three_listeners()), 0.2, 0.3, block_seconds=3.0, seed=5)
    said = split.manifest
    assert (said["by"], said["seed"], said["subjects"]) == ("sequence", 5, ["S1", "S2", "S3"])
    for name, side in split.sides.items():
        assert set(said[name]["ids"]) >= set(side.metadata["sequence"])
        assert said[name]["windows"] == len(side)
        assert said[name]["segments"] == len(side.metadata.drop_duplicates(["sound", "sound_onset"]))
    every = [one for name in split.sides for one in said[name]["ids"]]
    assert sorted(every) == sorted(f"{sound}/{i:03d}" for sound in "ab" for i in range(10))


def test_a_manifest_with_a_sequence_on_two_sides_is_refused():
    windows = windows_of(three_listeners())
    manifest = split_speech(windows, 0.2, 0.3, block_seconds=3.0).manifest
    stolen = manifest["test"]["ids"][0]
    manifest["train"]["ids"].append(stolen)
    with pytest.raises(LeakageError, match=f"1 sequences of speech stand on two sides: {stolen}"):
        split_by_manifest(windows, manifest)


def test_without_validation_there_is_none():
    windows = windows_of(three_listeners())
    split = split_speech(windows, 0.0, 0.3, block_seconds=3.0)
    assert split.val is None
    assert split.manifest["val"] == {"ids": [], "windows": 0, "segments": 0, "classes": {}}
    assert split_by_manifest(windows, split.manifest).val is None


def test_an_empty_side_says_what_to_do():
    windows = windows_of(three_listeners())
    with pytest.raises(DataError, match=r"no window of 1\.5 s is left for the (train|val|test) side: .*block_seconds"):
        split_speech(windows, block_seconds=300.0)
    with pytest.raises(DataError, match="left for the val side"):
        split_speech(windows, 0.01, 0.3, block_seconds=3.0)
    gone = {"train": {"ids": ["a/000"]}, "val": {"ids": []}, "test": {"ids": ["nothing"]}}
    with pytest.raises(DataError, match="left for the test side"):
        split_by_manifest(windows, gone)


def stimuli(*rows):
    return pd.DataFrame(rows, columns=["sequence", "sound", "sound_onset"])


def test_the_guard_names_shared_sequences_and_overlapping_sounds():
    train = stimuli(("s1", "a.wav", 0.0), ("s1", "a.wav", 1.0), ("s2", "b.wav", 20.0))
    check_stimuli(train, stimuli(("s3", "a.wav", 4.0), ("s4", "b.wav", 0.0), ("s5", "c.wav", 0.5)), 3.0)
    with pytest.raises(LeakageError, match="1 sequences of speech stand on both sides: s2"):
        check_stimuli(train, stimuli(("s2", "z.wav", 0.0), ("s3", "a.wav", 9.0)), 3.0)
    for onset in (3.99, 0.0, 1.0):
        with pytest.raises(LeakageError, match=r"windows of 1 sounds overlap across the sides: a\.wav"):
            check_stimuli(train, stimuli(("s3", "a.wav", onset), ("s4", "c.wav", 0.0)), 3.0)
    with pytest.raises(LeakageError, match=r"b\.wav"):
        check_stimuli(train, stimuli(("s3", "b.wav", 17.5)), 3.0)
    with pytest.raises(LeakageError, match=r"2 sounds overlap across the sides: a\.wav, b\.wav"):
        check_stimuli(stimuli(("s3", "b.wav", 22.9), ("s4", "a.wav", 0.5)), train, 3.0)


def test_a_split_by_hand_that_overlaps_is_refused():
    split = split_speech(windows_of(three_listeners()), 0.2, 0.3, block_seconds=3.0)
    split.check()
    split.test.metadata["sound_onset"] = split.train.metadata["sound_onset"].iloc[0]
    split.test.metadata["sound"] = split.train.metadata["sound"].iloc[0]
    with pytest.raises(LeakageError, match="overlap across the sides"):
        split.check()
    split = split_speech(windows_of(three_listeners()), 0.2, 0.3, block_seconds=3.0)
    split.test.metadata[["source", "onset"]] = split.train.metadata[["source", "onset"]].iloc[0].tolist()
    with pytest.raises(LeakageError, match="windows of 1 files overlap in time across the sides: file0"):
        split.check()
