"""Loading: steps, cache, what is skipped, checks of words against recordings and sounds."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import wavfile

from tscl.data.datasets import SimulatedSpeech
from tscl.data.preprocessing import PickChannels, Resample, Rescale, Scale
from tscl.data.recording import Channels, Recording
from tscl.data.sources import Source
from tscl.data.speech.corpus import load_speech
from tscl.data.speech.positions import flat_positions, with_montage
from tscl.data.speech.recording import SpeechRecording
from tscl.data.speech.study import SpeechStudy
from tscl.errors import ConfigError, DataError, DataNotFoundError

NAMES = ("Fz", "Cz", "Pz", "EOG")


def read_lesson(path, sounds):
    """Read one ``.npz`` of signals with the table of words that lies beside it under another name."""
    held = np.load(path, allow_pickle=False)
    stem = Path(path).stem
    words = pd.read_csv(Path(path).with_name(f"words-{stem}.tsv"), sep="\t")
    words = words.assign(sound=[str(Path(sounds) / name) for name in words["sound"]])
    places = np.array([[0, 0.06, 0.06], [0, 0, 0.09], [0, -0.06, 0.06], [np.nan] * 3])
    channels = Channels(NAMES, ("eeg", "eeg", "eeg", "eog"), "uV", float(held["sfreq"]), places)
    return SpeechRecording(held["data"], channels, source=path, words=words)


class Lessons(SpeechStudy):
    """A study in a layout of its own: a file a recording, a table of words beside it, a folder of sounds."""

    name = "lessons"
    access = "Write it."
    patterns = ("*.npz",)
    reader = staticmethod(read_lesson)

    def sources(self, root):
        """One source a file."""
        read = partial(self.reader, sounds=str(self.speech or root / "sounds"))
        paths = sorted(root.glob("*.npz"))
        return [Source(str(path), {"patient": path.stem[:2], "recording": path.stem}, reader=read) for path in paths]


def write_lesson(root, stem, seconds=6.0, sfreq=240.0, seed=0):
    data = np.random.default_rng(seed).normal(3, 20, (4, round(seconds * sfreq)))
    np.savez(root / f"{stem}.npz", data=data, sfreq=sfreq)
    onsets = np.arange(0.5, 4.5, 0.5)
    rows = {"onset": onsets + 0.25, "duration": 0.3, "word": list("abcdefgh"), "sequence": "s1", "sound": "one.wav"}
    pd.DataFrame(rows).assign(sound_onset=onsets).to_csv(root / f"words-{stem}.tsv", sep="\t", index=False)


@pytest.fixture
def lessons(tmp_path):
    root = tmp_path / "lessons"
    (root / "sounds").mkdir(parents=True)
    wavfile.write(root / "sounds" / "one.wav", 8000, np.ones(8000 * 5, np.int16))
    for number, stem in enumerate(("P2-a", "P1-a", "P1-b")):
        write_lesson(root, stem, seed=number)
    return root


def assert_same(one, other):
    assert one.subjects == other.subjects
    assert one.seconds == other.seconds
    assert one.skipped == other.skipped
    pd.testing.assert_frame_equal(one.words, other.words)
    for first, second in zip(one.recordings, other.recordings, strict=True):
        np.testing.assert_array_equal(first.data, second.data)
        np.testing.assert_array_equal(first.positions, second.positions)
        assert (first.channels, first.ids, first.source) == (second.channels, second.ids, second.source)


def test_the_steps_are_applied_and_everything_is_told(lessons):
    corpus = load_speech(Lessons(), lessons)
    assert corpus.sfreq == 120
    assert corpus.subjects == ["P1", "P2"]
    assert corpus.sounds == [str(lessons / "sounds" / "one.wav")]
    assert corpus.seconds == {str(lessons / "sounds" / "one.wav"): 5.0}
    assert [one.ids for one in corpus.recordings] == [
        {"patient": stem[:2], "recording": stem} for stem in ("P1-a", "P1-b", "P2-a")
    ]
    for one in corpus.recordings:
        raw = read_lesson(one.source, lessons / "sounds")
        expected = Scale("robust")(Resample(120.0)(PickChannels(types=["eeg"])(raw)))
        np.testing.assert_array_equal(one.data, expected.data)
        assert one.data.shape == (3, 720)
        assert one.channels == expected.channels
        np.testing.assert_array_equal(one.positions, flat_positions(expected.channels))
    assert corpus.words["recording"].tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert corpus.words["word"].tolist() == list("abcdefgh") * 3
    np.testing.assert_allclose(corpus.words["onset"], np.tile(np.arange(0.75, 4.5, 0.5), 3))
    assert repr(corpus) == "SpeechCorpus(2 subjects, 3 recordings (0.3 min) at 120 Hz, 1 sounds (0.1 min))"


def test_other_steps_and_positions_by_a_montage(lessons):
    steps = [PickChannels(names=["Pz", "Fz", "Cz"]), Rescale(0.5, "uV")]
    corpus = load_speech(Lessons(), lessons, steps=steps, montage="biosemi32")
    raw = read_lesson(corpus.recordings[0].source, lessons / "sounds")
    np.testing.assert_array_equal(corpus.recordings[0].data, raw.data[[2, 0, 1]] * 0.5)
    named = with_montage(raw.channels.pick([2, 0, 1]), "biosemi32")
    assert corpus.recordings[0].channels == named
    np.testing.assert_array_equal(corpus.recordings[0].positions, flat_positions(named))


def test_a_second_loading_opens_memory_maps(lessons, tmp_path, monkeypatch):
    plain = load_speech(Lessons(), lessons)
    made = load_speech(Lessons(), lessons, cache=tmp_path / "cache")
    monkeypatch.setattr(Source, "load", None)
    opened = load_speech(Lessons(), lessons, cache=tmp_path / "cache")
    for corpus in (made, opened):
        assert_same(corpus, plain)
        assert all(isinstance(one.data, np.memmap) for one in corpus.recordings)
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("changed", ["signals", "words", "steps", "montage", "folder of sounds"])
def test_the_cache_is_keyed_by_content(lessons, tmp_path, changed):
    cache, options = tmp_path / "cache", {}
    before = load_speech(Lessons(), lessons, cache=cache)
    if changed == "signals":
        write_lesson(lessons, "P1-a", seed=99)
    elif changed == "words":
        table = lessons / "words-P1-a.tsv"
        table.write_text(table.read_text().replace("\ta\t", "\tother\t"))
    elif changed == "steps":
        options["steps"] = [PickChannels(types=["eeg"])]
    elif changed == "montage":
        options["montage"] = "biosemi32"
    else:
        shutil.copytree(lessons / "sounds", tmp_path / "elsewhere")
        options["speech"] = tmp_path / "elsewhere"
    after = load_speech(Lessons(), lessons, cache=cache, **options)
    assert len(list(cache.iterdir())) == 2
    assert_same(after, load_speech(Lessons(), lessons, **options))
    assert (changed == "words") == ("other" in after.words["word"].tolist())
    assert before.words["word"].iloc[0] == "a"


def test_a_damaged_cache_says_what_to_do(lessons, tmp_path):
    load_speech(Lessons(), lessons, cache=tmp_path / "cache")
    [folder] = (tmp_path / "cache").iterdir()
    (folder / "corpus.json").write_text("{")
    with pytest.raises(DataError, match="is damaged .*: delete it and prepare the study again"):
        load_speech(Lessons(), lessons, cache=tmp_path / "cache")


@pytest.mark.parametrize("cached", [False, True])
def test_what_cannot_be_used_is_skipped_with_its_reason(lessons, tmp_path, cached, caplog):
    table = lessons / "words-P1-b.tsv"
    table.write_text(table.read_text().replace("0.75\t", "75\t"))
    with pytest.raises(DataError, match=r"P1-b\.npz: 1 of 8 word onsets lie outside"):
        load_speech(Lessons(), lessons)
    for _ in range(2):
        cache = tmp_path / "cache" if cached else None
        corpus = load_speech(Lessons(), lessons, on_error="skip", cache=cache)
        assert [one.ids["recording"] for one in corpus.recordings] == ["P1-a", "P2-a"]
        [(source, reason)] = corpus.skipped
        assert source == str(lessons / "P1-b.npz")
        assert "1 of 8 word onsets lie outside" in reason
    assert "1 recordings left out, the first: " + reason in caplog.text
    assert corpus.words["recording"].tolist() == [0] * 8 + [1] * 8


def test_nothing_usable_gives_the_first_reason(lessons):
    for path in lessons.glob("words-*.tsv"):
        path.write_text(path.read_text().replace("0.75\t", "75\t"))
    with pytest.raises(DataError, match=r"no recording of 3 could be used; the first reason: .*P1-a\.npz: 1 of 8"):
        load_speech(Lessons(), lessons, on_error="skip")
    with pytest.raises(ConfigError, match="on_error='ignore': choose 'raise' or 'skip'"):
        load_speech(Lessons(), lessons, on_error="ignore")


def test_missing_sounds_and_words_behind_the_end_of_a_sound(lessons):
    sound = lessons / "sounds" / "one.wav"
    wavfile.write(sound, 8000, np.ones(round(8000 * 4.25), np.int16))
    load_speech(Lessons(), lessons)
    wavfile.write(sound, 8000, np.ones(round(8000 * 4.15), np.int16))
    with pytest.raises(DataError, match=r"one\.wav lasts 4\.15 s, but 3 words end behind it, the last at 4\.30 s"):
        load_speech(Lessons(), lessons)
    sound.unlink()
    with pytest.raises(DataNotFoundError, match=r"one\.wav does not exist"):
        load_speech(Lessons(), lessons)


def test_recordings_at_different_rates_are_refused(lessons):
    write_lesson(lessons, "P1-b", sfreq=120.0)
    load_speech(Lessons(), lessons)
    with pytest.raises(DataError, match=r"P1-b\.npz is at 120 Hz and .*P1-a\.npz at 240 Hz: add Resample"):
        load_speech(Lessons(), lessons, steps=[PickChannels(types=["eeg"])])


def test_infinite_values_and_recordings_without_words_are_refused(lessons):
    held = dict(np.load(lessons / "P1-a.npz"))
    held["data"][1, 5] = np.inf
    np.savez(lessons / "P1-a.npz", **held)
    with pytest.raises(DataError, match=r"P1-a\.npz: infinite values in the channels \['Cz'\]"):
        load_speech(Lessons(), lessons)

    class Silent(Lessons):
        reader = staticmethod(read_silent)

    with pytest.raises(DataError, match=r"P1-a\.npz: the reader knows no heard words"):
        load_speech(Silent(), lessons)


def read_silent(path, sounds):
    return Recording(np.zeros((1, 9)), Channels(("a",), ("eeg",), "uV", 120.0), source=path)


def test_several_processes_give_the_same(tmp_path):
    study = SimulatedSpeech(n_subjects=3, seed=1)
    folder = tmp_path / "speech"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        syllables = np.repeat(rng.uniform(0, 1, 40), 2400) * rng.normal(0, 0.2, 96_000)
        wavfile.write(folder / f"{name}.wav", 16_000, syllables.astype(np.float32))
    alone = load_speech(study, speech=folder)
    assert_same(load_speech(study, speech=folder, n_jobs=2), alone)
    assert_same(load_speech(study, speech=folder, n_jobs=2, cache=tmp_path / "cache"), alone)
    (folder / "one.tsv").write_text("onset\tduration\tword\n1.0\t0.5\tword\n")
    table = load_speech(study, speech=folder, cache=tmp_path / "cache").words
    assert table.loc[table["sound"] == str(folder / "one.wav"), "word"].tolist() == ["word"] * 3


def test_the_cache_holds_no_pickle(lessons, tmp_path):
    load_speech(Lessons(), lessons, cache=tmp_path / "cache")
    [folder] = (tmp_path / "cache").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        "00000-000.npy", "00001-000.npy", "00002-000.npy", "corpus.json", "words.parquet",
    ]  # fmt: skip
    assert len(json.loads((folder / "corpus.json").read_text())["recordings"]) == 3
