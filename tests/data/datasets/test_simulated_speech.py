"""The simulated listeners: who they are, what they hear, and how their response follows the sound."""

import pickle
from functools import lru_cache
from pathlib import Path

import numpy as np
import pooch
import pytest
from scipy.io import wavfile
from scipy.signal import correlate

from tscl.data.datasets import SimulatedSpeech
from tscl.data.datasets.simulated_speech import SILENCE, _heard, sensor_places, simulated_listening
from tscl.data.speech.positions import flat_positions
from tscl.data.speech.sounds import read_sound
from tscl.data.speech.synthesis import synthesise_speech
from tscl.data.speech.words import words_of_sound
from tscl.errors import ConfigError, DataNotFoundError

SFREQ = 120


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Two sounds of about 20 s."""
    folder = tmp_path_factory.mktemp("speech")
    for seed in (0, 1):
        for path in synthesise_speech(folder / f"made{seed}", minutes=1 / 3, seed=seed).iterdir():
            path.rename(folder / path.name.replace("00", f"{seed:02d}"))
    return folder


@pytest.fixture(scope="module")
def listen(sounds):
    paths = tuple(str(path) for path in sorted(sounds.glob("*.wav")))

    @lru_cache
    def one(subject=0, session=0, snr=60.0, seed=0):
        return simulated_listening("x", sounds=paths, subject=subject, session=session, snr=snr, seed=seed)

    return one


def study_of(sounds, **options):
    study = SimulatedSpeech(**options)
    study.speech = sounds
    return study


def test_two_kinds_of_sensors(listen):
    meg, eeg = listen(subject=0), listen(subject=1)
    assert (meg.data.shape[0], set(meg.channels.types), meg.channels.unit) == (102, {"mag"}, "fT")
    assert (eeg.data.shape[0], set(eeg.channels.types), eeg.channels.unit) == (32, {"eeg"}, "uV")
    assert meg.data.std() == pytest.approx(100, rel=1e-3)
    assert eeg.data.std() == pytest.approx(10, rel=1e-3)
    assert meg.sfreq == eeg.sfreq == SFREQ
    for one in (meg, eeg):
        flat = flat_positions(one.channels)
        assert np.isfinite(flat).all()
        assert len(np.unique(flat.round(3), axis=0)) == len(flat)
    np.testing.assert_allclose(np.linalg.norm(sensor_places("mag")[1], axis=1), 0.12)


def test_everyone_hears_all_words_where_they_are_in_the_sound(sounds, listen):
    paths = sorted(str(path) for path in sounds.glob("*.wav"))
    lengths = {path: read_sound(path) for path in paths}
    orders = set()
    for subject in range(6):
        one = listen(subject=subject, snr=0.0)
        order = list(dict.fromkeys(one.words["sound"]))
        orders.add(tuple(order))
        assert sorted(order) == paths
        at = SILENCE
        for path in order:
            heard = one.words[one.words["sound"] == path]
            np.testing.assert_allclose(heard["sound_onset"], words_of_sound(path)["onset"])
            np.testing.assert_allclose(heard["onset"], heard["sound_onset"] + at)
            sound, sfreq = lengths[path]
            at += np.ceil(len(sound) / sfreq * SFREQ) / SFREQ + SILENCE
        assert one.duration == pytest.approx(at)
    assert len(orders) == 2


def test_the_same_seed_gives_the_same_study(sounds, listen):
    def signals(**options):
        sources = study_of(sounds, n_subjects=2, snr=-5.0, **options).sources(None)
        return [source.load()[0].data for source in sources]

    one, same, other = signals(), signals(), signals(seed=1)
    for first, second, third in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, third)
    np.testing.assert_array_equal(one[1], listen(subject=1, snr=-5.0).data)


def test_sessions_of_a_subject_share_the_brain_but_not_the_noise(listen):
    """The response of another session lies in the space of the subject's own sources, another subject's does not."""

    def outside(space, data):
        basis = np.linalg.eigh(np.cov(space))[1][:, -6:]
        rest = data - data.mean(axis=1, keepdims=True)
        return (rest - basis @ (basis.T @ rest)).var() / rest.var()

    first, again, other = listen(), listen(session=1), listen(subject=2)
    assert outside(first.data.astype(float), again.data.astype(float)) < 1e-4
    assert outside(first.data.astype(float), other.data.astype(float)) > 0.1
    noise = [listen(session=session, snr=-60.0).data[:, :4000] for session in (0, 1)]
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize("snr", [-20.0, -10.0, 0.0, 10.0])
@pytest.mark.parametrize("subject", [0, 1])
def test_response_over_noise_is_what_was_asked(listen, subject, snr):
    response, noise, mixed = (listen(subject=subject, snr=db).data.astype(float).ravel() for db in (120.0, -120.0, snr))
    weights, residual, *_ = np.linalg.lstsq(np.column_stack([response, noise]), mixed, rcond=None)
    assert residual[0] / (mixed @ mixed) < 1e-6
    power = (weights[0] * response.std()) ** 2 / (weights[1] * noise.std()) ** 2
    assert 10 * np.log10(power) == pytest.approx(snr, abs=0.05)


@pytest.mark.parametrize("subject", range(4))
def test_the_response_follows_the_sound_by_30_to_250_ms(listen, subject):
    one = listen(subject=subject)
    order = list(dict.fromkeys(one.words["sound"]))
    loud = [np.zeros(SFREQ)]
    for path in order:
        sound, sfreq = read_sound(path)
        width = int(sfreq / SFREQ * 3)
        smooth = np.convolve(np.abs(sound), np.hanning(width) / width, mode="same")
        n = int(np.ceil(len(sound) / sfreq * SFREQ))
        loud += [np.interp(np.arange(n) / SFREQ, np.arange(len(sound)) / sfreq, smooth), np.zeros(SFREQ)]
    envelope = np.concatenate(loud)
    envelope = (envelope - envelope.mean()) / envelope.std()
    assert len(envelope) == one.data.shape[1]
    lags = np.arange(-len(envelope) + 1, len(envelope)) / SFREQ
    strength = np.zeros(len(lags))
    for row in one.data.astype(float):
        strength += correlate((row - row.mean()) / row.std(), envelope, mode="full") ** 2
    assert 0.03 <= lags[strength.argmax()] <= 0.25
    assert np.sqrt(strength.max() / len(one.data)) / len(envelope) > 0.2
    noise = listen(subject=subject, snr=-60.0).data.astype(float)
    random = sum(correlate((row - row.mean()) / row.std(), envelope, mode="full") ** 2 for row in noise)
    assert random[np.abs(lags) < 0.5].max() < strength.max() / 3


def test_what_drives_the_brain_has_the_length_of_the_session(sounds):
    paths = tuple(str(path) for path in sorted(sounds.glob("*.wav")))
    drive, words = _heard(paths, np.random.default_rng(0))
    assert drive.shape[0] == 14
    assert (drive[:, :SFREQ] == 0).all()
    assert (drive[:, -SFREQ:] == 0).all()
    assert words["onset"].iloc[-1] * SFREQ < drive.shape[1] - SFREQ


def test_the_study_lists_a_source_a_session(sounds):
    study = study_of(sounds, n_subjects=11, n_sessions=2)
    sources = study.sources(None)
    assert [source.ids["patient"] for source in sources[::2]] == [f"S{i:02d}" for i in range(1, 12)]
    assert [source.ids["recording"] for source in sources[:2]] == ["S01/1", "S01/2"]
    assert study.expected == {"patients": 11, "recordings": 22}
    assert len({source.path for source in sources}) == 22


def test_sources_travel_to_worker_processes(sounds):
    source = study_of(sounds, n_subjects=2).sources(None)[1]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).load()[0].data, source.load()[0].data)


def test_windows_for_other_methods(sounds):
    data = study_of(sounds, n_subjects=2).sources(None)[1].load()[0]
    windows = SimulatedSpeech().preprocessing()(data)
    assert windows.signals[0].shape[1:] == (32, 360)


def test_a_folder_without_sounds_is_refused(tmp_path):
    with pytest.raises(DataNotFoundError, match="has no WAV files: name a folder of speech"):
        study_of(tmp_path).sources(None)


def test_sounds_in_a_folder_are_used_as_they_are(tmp_path):
    wavfile.write(tmp_path / "b.wav", 16_000, np.ones(1600, np.int16))
    wavfile.write(tmp_path / "a.wav", 16_000, np.ones(1600, np.int16))
    assert study_of(tmp_path).sounds() == [str(tmp_path / "a.wav"), str(tmp_path / "b.wav")]


def test_speech_is_synthesised_once_for_a_length_and_a_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    first = SimulatedSpeech(minutes=2, seed=7).sounds()
    assert [Path(path).name for path in first] == ["speech00.wav", "speech01.wav"]
    assert all(Path(path).is_relative_to(tmp_path / "tscl") for path in first)
    assert sum(len(read_sound(path)[0]) for path in first) / 16_000 == pytest.approx(120, abs=10)
    written = [Path(path).stat().st_mtime_ns for path in first]
    assert SimulatedSpeech(minutes=2, seed=7, snr=3.0).sounds() == first
    assert [Path(path).stat().st_mtime_ns for path in first] == written
    assert not set(SimulatedSpeech(minutes=2, seed=8).sounds()) & set(first)


@pytest.mark.parametrize("wrong", [{"n_subjects": 0}, {"n_sessions": 0}, {"minutes": 0.5}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="each must be at least 1"):
        SimulatedSpeech(**wrong)
