"""What studies of speech hold besides good recordings: each tried on real files, each answered in one sentence."""

import logging

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from tscl.data.datasets import SimulatedSpeech
from tscl.data.recording import Channels
from tscl.data.sources import Source
from tscl.data.speech import LogMel, SpeechDataModule, SpeechRecording, SpeechSplit, Wav2Vec2, words_table
from tscl.data.speech.study import SpeechStudy
from tscl.encoders import BrainConv
from tscl.errors import TsclError
from tscl.evaluation import evaluate_retrieval

RATE, SECONDS, SFREQ = 16_000, 30, 120.0
PLACES = np.array([[x, y, 0.09 - x**2 - y**2] for x in (-0.06, 0.0, 0.06) for y in (-0.06, 0.0, 0.06)])


class Told(SpeechStudy):
    """Two people who heard one story, recorded by nine sensors; what is wrong with it are its arguments."""

    name, access, title = "told", "Written by the test.", "A story"

    def __init__(self, late=0.0, places=PLACES, fewer=None):
        super().__init__()
        self.late, self.places, self.fewer = late, places, fewer

    def sources(self, root):
        return [Source(f"{one}.eeg", {"patient": one, "recording": one}, reader=self.read) for one in ("p1", "p2")]

    def read(self, path):
        onset = np.arange(1, SECONDS - 2, 0.5)
        if path == "p2.eeg" and self.fewer is not None:
            onset = onset[onset < self.fewer]
        words = [
            {
                "onset": at + self.late,
                "duration": 0.3,
                "word": f"w{at}",
                "sequence": f"s{at // 4:02.0f}",
                "sound": str(self.speech / "story.wav"),
                "sound_onset": at,
            }
            for at in onset
        ]
        signals = np.random.default_rng(1).normal(size=(9, round((SECONDS + 1) * SFREQ)))
        channels = Channels(tuple(f"E{i}" for i in range(9)), ("eeg",) * 9, "uV", SFREQ, self.places)
        return SpeechRecording(signals, channels, source=path, words=words_table(words))


def story(folder, seconds=SECONDS, rate=RATE, channels=1):
    folder.mkdir()
    times = np.arange(round(seconds * rate)) / rate
    sound = np.sin(2 * np.pi * 300 * times) * np.sin(2 * np.pi * 1.3 * times) ** 2 * 20_000
    wavfile.write(folder / "story.wav", rate, np.stack([sound] * channels, axis=1).astype("int16"))
    return folder


def windows(folder, study=None, **settings):
    given = {"seconds": 1.0, "block_seconds": 4.0, "test": 0.3, "baseline": 0.2, **settings}
    module = SpeechDataModule(study or Told(), LogMel(n_bands=6), speech=str(folder), **given)
    module.setup()
    return module


def missing_sound(folder):
    story(folder)
    (folder / "story.wav").unlink()
    windows(folder)


def sound_shorter_than_its_words(folder):
    windows(story(folder, seconds=20))


def truncated_sound(folder):
    story(folder)
    content = (folder / "story.wav").read_bytes()
    (folder / "story.wav").write_bytes(content[: len(content) // 2])
    windows(folder)


def no_sound_file(folder):
    folder.mkdir()
    (folder / "story.wav").write_text("not a sound")
    windows(folder)


def onsets_outside_the_recording(folder):
    windows(story(folder), Told(late=20.0))


def onsets_before_the_recording(folder):
    windows(story(folder), Told(late=-5.0))


def no_positions(folder):
    windows(story(folder), Told(places=None))


def unknown_montage(folder):
    windows(story(folder), montage="helmet")


def windows_longer_than_the_sound(folder):
    windows(story(folder), seconds=40.0)


def one_block_of_speech(folder):
    windows(story(folder), block_seconds=100.0)


def fewer_candidates_than_k(folder):
    module = windows(story(folder))
    encoder = BrainConv(9, 6, 2, virtual=4, hidden=4, depth=1, n_frequencies=2)
    evaluate_retrieval({"brain": encoder}, module.split.test, ks=(1, 500))


def a_sequence_on_two_sides(folder):
    split = windows(story(folder)).split
    SpeechSplit(split.train, None, split.train.select(np.arange(4))).check()


def a_sound_on_two_sides(folder):
    """The same stretch of sound under the name of another sequence."""
    split = windows(story(folder)).split
    same = split.train.select(np.arange(4))
    same.metadata = same.metadata.assign(sequence="another name")
    SpeechSplit(split.train, None, same).check()


def wav2vec_without_weights(folder):
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "preprocessor_config.json").write_text("{}")
    Wav2Vec2(folder)(np.zeros(RATE), SFREQ)


def wav2vec_that_is_nowhere(folder):
    Wav2Vec2(folder)(np.zeros(RATE), SFREQ)


def a_folder_without_speech(folder):
    folder.mkdir()
    windows(folder, SimulatedSpeech(n_subjects=1))


CASES = {
    # what is wrong: (what the sentence names, what it advises)
    missing_sound: (("story.wav", "does not exist"), "put the study's sound files in place"),
    sound_shorter_than_its_words: (("story.wav", "20.00 s"), "the file is cut off, or the events belong to another"),
    truncated_sound: (("story.wav",), ""),
    no_sound_file: (("story.wav",), "convert it to PCM WAV"),
    onsets_outside_the_recording: (("p1.eeg", "31.00 s"), "check their unit and origin"),
    onsets_before_the_recording: (("p1.eeg", "-4.00 s"), "check their unit and origin"),
    no_positions: (("p1.eeg", "no sensor positions"), "montage"),
    unknown_montage: (("'helmet'",), "choose one of"),
    windows_longer_than_the_sound: (("40 s",), "use shorter windows"),
    one_block_of_speech: (("val side", "7 sequences"), "block_seconds"),
    fewer_candidates_than_k: (("top-500",), "a smaller k"),
    a_sequence_on_two_sides: (("sequences of speech stand on both sides", "s0"), "Split by sequence"),
    a_sound_on_two_sides: (("story.wav", "overlap across the sides"), "Leave out"),
    wav2vec_without_weights: (("recordings",), "safetensors"),
    wav2vec_that_is_nowhere: (("recordings",), "facebook/wav2vec2-large-xlsr-53"),
    a_folder_without_speech: (("recordings", "no WAV file"), "none for synthetic speech"),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_one_sentence_names_what_is_wrong_and_what_to_do(tmp_path, case):
    named, advice = CASES[case]
    with pytest.raises(TsclError) as caught:
        case(tmp_path / "recordings")
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    for word in (*named, advice):
        assert word in said
    assert len(said) < 2000 if case is unknown_montage else len(said) < 500


def test_stereo_sound_at_another_rate_is_used_with_a_warning(tmp_path, caplog):
    expected = windows(story(tmp_path / "mono")).windows
    with caplog.at_level(logging.WARNING):
        found = windows(story(tmp_path / "stereo", rate=44_100, channels=2)).windows
    assert "story.wav has 2 channels: their mean is used" in caplog.text
    assert len(found) == len(expected)
    a, b = (one[np.arange(len(one))].paired["speech"] for one in (found, expected))
    assert torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] > 0.95


def test_two_sensors_at_one_position_are_named(tmp_path, caplog):
    places = PLACES.copy()
    places[5] = places[2]
    with caplog.at_level(logging.WARNING):
        windows(story(tmp_path / "recordings"), Told(places=places))
    assert "p1.eeg: 1 pairs of sensors sit at one place (E2 and E5)" in caplog.text


def test_sensors_of_unknown_position_are_no_error(tmp_path):
    places = PLACES.copy()
    places[4] = np.nan
    batch = windows(story(tmp_path / "recordings"), Told(places=places)).windows[[0, 1]]
    assert batch.sensors.positions[:, 4].isnan().all()
    encoder = BrainConv(9, 6, 2, virtual=4, hidden=4, depth=1, n_frequencies=2)
    assert torch.isfinite(encoder(batch.x, sensors=batch.sensors)).all()


def test_a_subject_without_a_test_segment_is_listed_with_nothing(tmp_path, caplog):
    """The second person stopped listening before the test speech came."""
    folder = story(tmp_path / "recordings")
    begins = windows(folder).split.test.metadata["sound_onset"].min()
    assert begins > 4, "the test speech must not be the beginning for this test to say anything"
    split = windows(folder, Told(fewer=begins - 1.0), val=0.0).split
    assert set(split.train.metadata["patient"]) == {"p1", "p2"}
    assert set(split.test.metadata["patient"]) == {"p1"}
    encoder = BrainConv(9, 6, 2, virtual=4, hidden=4, depth=1, n_frequencies=2)
    with caplog.at_level(logging.WARNING):
        results = evaluate_retrieval({"brain": encoder}, split.test, ks=(1,), subjects=split.train.subjects)
    assert "subject p2 has no test segment: its results are NaN" in caplog.text
    table = results.by_subject()
    assert np.isnan(table.loc[(table["model"] == "brain") & (table["subject"] == "p2"), "top1"]).all()
    assert "1 subject (1 more without a test segment)" in results.statement()
