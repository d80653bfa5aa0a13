from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from tscl.data.speech.representations.base import SpeechRepresentation, in_chunks, resample_frames, standardised
from tscl.data.speech.representations.cache import speech_features
from tscl.data.speech.representations.logmel import LogMel, mel_edges, mel_filters
from tscl.data.speech.representations.onnx_speech import OnnxSpeech
from tscl.data.speech.sounds import read_sound
from tscl.errors import ConfigError, DataError, DataNotFoundError

SFREQ = 16_000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * SFREQ))).astype(np.float32)


# -- frames over time ------------------------------------------------------------------------------------------------


def test_sparser_frames_are_interpolated_and_held_at_the_ends():
    out = resample_frames(np.array([[1.0, 3.0, 2.0]]), np.array([0.1, 0.2, 0.3]), np.arange(5) * 0.05 + 0.05)
    assert out.dtype == np.float32
    assert np.allclose(out, [[1, 1, 2, 3, 2.5]])
    assert np.allclose(resample_frames(np.array([[7.0]]), np.array([0.1]), np.arange(3) / 120), 7)


def test_denser_frames_are_averaged_over_a_step():
    values = np.random.default_rng(0).standard_normal((2, 400))
    times, wanted = 0.0005 + np.arange(400) / 1000, np.arange(50) / 100
    out = resample_frames(values, times, wanted)
    for k in range(1, 40):
        assert np.allclose(out[:, k], values[:, 10 * k - 5 : 10 * k + 5].mean(axis=1), atol=1e-6)
    assert np.allclose(out[:, 0], values[:, :5].mean(axis=1), atol=1e-6)
    assert np.allclose(out[:, 41:], values[:, -1:])


@pytest.mark.parametrize("rate", [25.0, 50.0, 119.0, 125.0, 1000.0])
def test_a_ramp_stays_a_ramp_at_any_rate(rate):
    times = 0.01 + np.arange(int(2 * rate)) / rate
    wanted = np.arange(240) / 120
    inside = (wanted > times[0] + 1 / 50) & (wanted < times[-1] - 1 / 50)
    out = resample_frames(times[None], times, wanted)[0]
    # Of held frames, the mean over a step that is no multiple of theirs is off by less than a quarter of a frame.
    assert np.abs(out - wanted)[inside].max() < (1e-6 if rate < 120 else 0.25 / rate)


def test_the_length_is_that_of_the_sound():
    class Ones(SpeechRepresentation):
        def frames(self, sound):
            return np.ones((1, 2), dtype=np.float32), np.array([0.0, 0.1])

    for n in (1, 133, 134, 1600, 47_999, 48_000, 48_001):
        assert Ones()(np.zeros(n), 120.0).shape == (1, -(-n * 120 // 16_000))


def test_chunks_give_the_frames_of_one_pass():
    sound = noise(0.3)

    def run(piece):
        return np.lib.stride_tricks.sliding_window_view(piece, 40)[::16].T

    for n in (40, 55, 56, 640, 641, 4800):
        for chunk in (1, 16, 100, 640, 10_000):
            assert np.array_equal(in_chunks(sound[:n], run, 16, chunk, 40), run(sound[:n]))


# -- log-mel ---------------------------------------------------------------------------------------------------------


def test_logmel_is_the_direct_fourier_sum():
    sound = noise(0.2)
    representation = LogMel(n_bands=20, frame=100, hop=40, floor=1e-3)
    features, times = representation.frames(sound)
    assert features.dtype == np.float32
    assert np.allclose(times, np.arange(81) * 40 / SFREQ)
    n_fft = 256
    filters = mel_filters(mel_edges(20, 0.0, 8000.0), n_fft, SFREQ)
    for k in (0, 1, 37, 80):
        power = np.zeros(n_fft // 2 + 1)
        for f in range(n_fft // 2 + 1):
            total = 0j
            for i in range(100):
                at = k * 40 - 50 + i
                value = sound[at] if 0 <= at < len(sound) else 0.0
                total += value * np.sin(np.pi * i / 100) ** 2 * np.exp(-2j * np.pi * f * i / n_fft)
            power[f] = abs(total) ** 2
        assert np.allclose(features[:, k], np.log(1e-3 + filters @ power), atol=1e-4)


@pytest.mark.parametrize("tone", [150.0, 440.0, 1000.0, 3210.0, 7000.0])
def test_a_tone_peaks_in_its_band_with_its_power(tone):
    n_bands, amplitude = 40, 0.5
    representation = LogMel(n_bands=n_bands)
    features, _ = representation.frames(amplitude * np.sin(2 * np.pi * tone * np.arange(SFREQ) / SFREQ))
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), n_bands + 2) / 2595) - 1)
    band = int(features[:, 60].argmax())
    assert edges[band] < tone < edges[band + 2]
    # Filters add up to 1 between the first and the last peak: their sum is half of the power, by Parseval.
    window, n_fft = np.sin(np.pi * np.arange(512) / 512) ** 2, 2 * (representation._filters.shape[1] - 1)
    expected = n_fft / 2 * amplitude**2 / 2 * (window**2).sum()
    assert np.exp(features[:, 60].astype(float)).sum() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("n_bands", [40, 80, 120, 200])
def test_no_filter_is_empty(n_bands):
    filters = LogMel(n_bands=n_bands)._filters
    assert filters.shape[0] == n_bands
    assert filters.max(axis=1).min() >= 0.5
    assert LogMel()._filters.shape == (120, 1025)
    assert not mel_filters(mel_edges(120, 0.0, 8000.0), 512, SFREQ).any(axis=1).all()


def test_logmel_of_silence_short_and_long_sounds():
    assert np.allclose(LogMel(floor=1e-5)(np.zeros(SFREQ), 120.0), np.log(1e-5))
    assert LogMel()(np.zeros(1), 120.0).shape == (120, 1)
    long = noise(30)
    whole, part = LogMel()(long, 120.0), LogMel()(long[16 * SFREQ : 24 * SFREQ], 120.0)
    assert np.allclose(whole[:, 16 * 120 + 10 : 24 * 120 - 10], part[:, 10:-10], atol=1e-4)


@pytest.mark.parametrize("wrong", [{"n_bands": 0}, {"hop": 0}, {"low": 9000}, {"high": 8001}, {"floor": 0}])
def test_logmel_refuses(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        LogMel(**wrong)


def test_bands_that_are_too_narrow():
    with pytest.raises(ConfigError, match="n_bands=6000 from 0.0 to 8000.0 Hz are too narrow"):
        LogMel(n_bands=6000).frames(noise(1))


# -- ONNX ------------------------------------------------------------------------------------------------------------


def save_onnx(path: Path, op: str, shape_in: list, shape_out: list, constants=None, kind: str = "FLOAT", **attributes):
    """Write a model of one operation on the input 'x' and constants."""
    onnx = pytest.importorskip("onnx", reason="onnx writes the small models of these tests")
    pytest.importorskip("onnxruntime", reason="OnnxSpeech needs onnxruntime")
    helper, elem = onnx.helper, getattr(onnx.TensorProto, kind)
    constants = constants or {}
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *constants], ["y"], **attributes)],
        "small",
        [helper.make_tensor_value_info("x", elem, shape_in)],
        [helper.make_tensor_value_info("y", elem, shape_out)],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def convolution(path: Path, pad: int = 0) -> tuple[Path, np.ndarray]:
    kernel = np.random.default_rng(1).standard_normal((3, 1, 400)).astype(np.float32)
    save_onnx(
        path, "Conv", ["b", 1, "n"], ["b", 3, "t"], {"w": kernel}, strides=[160], kernel_shape=[400], pads=[pad, pad]
    )
    return path, kernel[:, 0]


@pytest.mark.parametrize("pad", [0, 200])
def test_a_sound_model_gives_its_outputs_at_their_times(tmp_path, pad):
    path, kernel = convolution(tmp_path / "conv.onnx", pad)
    sound = noise(2.5)
    features, times = OnnxSpeech(path, scale=2.0, shift=0.5).frames(sound)
    padded = np.pad(2 * sound + np.float32(0.5), pad)
    expected = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160] @ kernel.T
    assert features.shape == (3, len(expected))
    assert np.allclose(features, expected.T, atol=1e-3)
    assert np.allclose(times, (np.arange(len(expected)) * 160 + 200 - pad) / SFREQ)
    pieces, _ = OnnxSpeech(path, scale=2.0, shift=0.5, chunk=0.3, context=0.1).frames(sound)
    assert np.allclose(pieces, features, atol=1e-5)
    short, at = OnnxSpeech(path).frames(sound[:100])
    assert short.shape[1] == len(at) > 0


def test_standardise_brings_to_mean_0_and_variance_1(tmp_path):
    path, _ = convolution(tmp_path / "conv.onnx")
    sound = 3 + noise(1.5)
    assert standardised(sound).mean() == pytest.approx(0, abs=1e-6)
    assert standardised(sound).std() == pytest.approx(1, abs=1e-4)
    one = OnnxSpeech(path, standardise=True).frames(sound)[0]
    assert np.allclose(one, OnnxSpeech(path).frames(standardised(sound))[0])


def test_a_window_model_on_the_frames_of_a_front_end(tmp_path):
    mean = save_onnx(tmp_path / "mean.onnx", "ReduceMean", ["b", 6, 20, 1], ["b", 20, 1], axes=[1], keepdims=0)
    mel = LogMel(n_bands=20)
    sound = noise(4)
    frames, times = mel.frames(sound)
    features, at = OnnxSpeech(mean, front_end=mel, hop=4).frames(sound)
    n = (frames.shape[1] - 6) // 4 + 1
    assert features.shape == (20, n)
    for k in (0, 1, 70, n - 1):
        assert np.allclose(features[:, k], frames[:, 4 * k : 4 * k + 6].mean(axis=1), atol=1e-5)
        assert at[k] == pytest.approx(times[4 * k : 4 * k + 6].mean())
    free = save_onnx(tmp_path / "free.onnx", "ReduceMean", ["b", 20, "w"], ["b", 20], axes=[2], keepdims=0)
    turned = OnnxSpeech(free, front_end=mel, hop=4, window=6)
    assert np.allclose(turned.frames(sound)[0], features, atol=1e-5)
    with pytest.raises(ConfigError, match="window=None does not fit"):
        OnnxSpeech(free, front_end=mel).frames(sound)
    with pytest.raises(ConfigError, match=r"not \(batch, window, 30\)"):
        OnnxSpeech(mean, front_end=LogMel(n_bands=30)).frames(sound)
    with pytest.raises(ConfigError, match="pass the front_end"):
        OnnxSpeech(mean).frames(sound)
    assert OnnxSpeech(mean, front_end=mel).frames(sound[:10])[0].shape == (20, 1)


def test_onnx_errors_are_one_sentence(tmp_path, monkeypatch):
    sound = noise(1)
    with pytest.raises(DataNotFoundError, match=r"none\.onnx does not exist"):
        OnnxSpeech(tmp_path / "none.onnx")
    path, _ = convolution(tmp_path / "conv.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(DataError, match=r"text\.onnx cannot be read as an ONNX model"):
        OnnxSpeech(tmp_path / "text.onnx").frames(sound)
    with pytest.raises(ConfigError, match="takes sound .* leave out front_end"):
        OnnxSpeech(path, front_end=LogMel()).frames(sound)
    with pytest.raises(ConfigError, match=r"no output 'z': choose among \['y'\]"):
        OnnxSpeech(path, output="z").frames(sound)
    pooled = save_onnx(tmp_path / "pooled.onnx", "ReduceMean", ["b", "n"], ["b"], axes=[1], keepdims=0)
    with pytest.raises(DataError, match=r"outputs of shape \(1,\) and \(1,\) .* one axis must grow"):
        OnnxSpeech(pooled).frames(sound)
    fixed = save_onnx(tmp_path / "fixed.onnx", "Identity", [1, 16_000], [1, 16_000])
    with pytest.raises(ConfigError, match="export it with a free length"):
        OnnxSpeech(fixed).frames(sound)
    integers = save_onnx(tmp_path / "integers.onnx", "Identity", ["b", "n"], ["b", "n"], kind="INT64")
    with pytest.raises(DataError, match="one input of 32-bit floats"):
        OnnxSpeech(integers).frames(sound)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r'pip install "tscl\[speech\]"'):
        OnnxSpeech(path).frames(sound)


def google(shared_data: Path, **options) -> tuple[OnnxSpeech, OnnxSpeech]:
    folder = shared_data / "speech_models"
    mel = OnnxSpeech(folder / "melspectrogram.onnx", scale=32_767, **options)
    return mel, OnnxSpeech(folder / "embedding_model.onnx", front_end=mel, scale=0.1, shift=2.0)


def test_google_speech_embedding_of_real_speech(shared_data):
    onnxruntime = pytest.importorskip("onnxruntime", reason="OnnxSpeech needs onnxruntime")
    sound, rate = read_sound(shared_data / "speech" / "beckett.wav")
    assert rate == SFREQ
    integers = np.rint(sound * 32_767)
    mel, speech = google(shared_data)
    folder = shared_data / "speech_models"
    first, second = (onnxruntime.InferenceSession(folder / f"{n}.onnx") for n in ("melspectrogram", "embedding_model"))
    spectrum = first.run(None, {"input": integers[None].astype(np.float32)})[0].reshape(-1, 32)
    starts = range(0, len(spectrum) - 75, 8)
    expected = np.concatenate(
        [
            second.run(None, {"input_1": (spectrum[s : s + 76] / 10 + 2)[None, :, :, None]})[0].ravel()[None]
            for s in starts
        ]
    )
    frames, times = mel.frames(sound)
    assert np.allclose(frames, spectrum.T, atol=1e-2)
    features, at = speech.frames(sound)
    assert features.shape == (96, len(starts))
    assert np.allclose(features, expected.T, atol=1e-2 * expected.std())
    assert np.allclose(np.diff(at), 0.08)
    assert at[0] == pytest.approx(times[:76].mean())
    assert speech(sound, 120.0).shape == (96, -(-len(sound) * 120 // SFREQ))


def test_google_spectrogram_in_chunks_and_in_time(shared_data):
    pytest.importorskip("onnxruntime", reason="OnnxSpeech needs onnxruntime")
    mel, _ = google(shared_data)
    sound = noise(7)
    assert np.allclose(google(shared_data, chunk=1.0)[0].frames(sound)[0], mel.frames(sound)[0], atol=1e-3)
    click = 1e-4 * noise(3)
    click[SFREQ : SFREQ + 2] += 0.9
    frames, times = mel.frames(click)
    loud = frames.mean(axis=0)
    loud = loud - np.median(loud)
    assert (times * np.maximum(loud, 0) ** 2).sum() / (np.maximum(loud, 0) ** 2).sum() == pytest.approx(1, abs=0.005)


# -- features of files -----------------------------------------------------------------------------------------------


class Counted(LogMel):
    heard = 0

    def frames(self, sound):
        type(self).heard += 1
        return super().frames(sound)


@pytest.fixture
def sounds(tmp_path) -> list[Path]:
    Counted.heard = 0
    paths = [tmp_path / "a.wav", tmp_path / "b.wav", tmp_path / "same_as_a.wav"]
    for path, seed in zip(paths, (0, 1, 0), strict=True):
        wavfile.write(path, SFREQ, noise(0.5, seed))
    return paths


def test_every_sound_is_computed_once(sounds, tmp_path, caplog):
    cache = tmp_path / "cache"
    for folder, total in ((None, 2), (cache, 4), (cache, 4)):
        features = speech_features(Counted(n_bands=20), [*sounds, sounds[0]], 120.0, cache=folder)
        assert Counted.heard == total
        assert list(features) == [str(path) for path in sounds]
        for path in sounds:
            assert features[str(path)].dtype == np.float32
            assert np.array_equal(features[str(path)], LogMel(n_bands=20)(read_sound(path)[0], 120.0))
        assert isinstance(features[str(sounds[0])], np.memmap) == (folder is not None)
    assert len(list(cache.iterdir())) == 2
    assert not caplog.records


def test_the_key_knows_settings_rate_and_content(sounds, tmp_path):
    cache = tmp_path / "cache"
    calls = [(Counted(n_bands=20), 120.0), (Counted(n_bands=21), 120.0), (Counted(n_bands=20), 100.0)]
    for total, (representation, sfreq) in enumerate(calls, 1):
        speech_features(representation, sounds[:1], sfreq, cache=cache)
        assert Counted.heard == total
    wavfile.write(sounds[0], SFREQ, noise(0.5, 2))
    speech_features(Counted(n_bands=20), sounds[:1], 120.0, cache=cache)
    assert Counted.heard == 4
    assert len(list(cache.iterdir())) == 4


def test_the_key_knows_the_model_by_content_and_not_by_place(sounds, tmp_path):
    cache = tmp_path / "cache"
    path, _ = convolution(tmp_path / "one.onnx")
    moved = tmp_path / "two.onnx"
    for pad, n_files in ((0, 1), (200, 2)):
        convolution(path, pad)
        for here in (path, moved):
            here.write_bytes(path.read_bytes())
            (tmp_path / here.stem).mkdir(exist_ok=True)
            model = tmp_path / here.stem / "model.onnx"
            model.write_bytes(path.read_bytes())
            representation = OnnxSpeech(model)
            assert representation.files == (model,)
            speech_features(representation, sounds[:1], 120.0, cache=cache)
            assert len(list(cache.iterdir())) == n_files
    outer = OnnxSpeech(path, front_end=OnnxSpeech(moved))
    assert outer.files == (path, moved)
    assert outer.settings()["front_end"]["class"].endswith("OnnxSpeech")
    assert "path" not in outer.settings()["front_end"]


@pytest.mark.parametrize("damage", [lambda raw: b"", lambda raw: raw[:-9], lambda raw: bytes(len(raw))])
def test_damaged_features_are_computed_again(sounds, tmp_path, caplog, damage):
    first = np.array(speech_features(Counted(n_bands=20), sounds[:1], 120.0, cache=tmp_path / "c")[str(sounds[0])])
    (kept,) = (tmp_path / "c").iterdir()
    kept.write_bytes(damage(kept.read_bytes()))
    again = speech_features(Counted(n_bands=20), sounds[:1], 120.0, cache=tmp_path / "c")[str(sounds[0])]
    assert "are damaged: they are computed again" in caplog.text
    assert np.array_equal(again, first)
    assert Counted.heard == 2


def test_sounds_of_a_low_rate_are_upsampled_with_one_warning(sounds, tmp_path, caplog):
    low = [tmp_path / "low0.wav", tmp_path / "low1.wav"]
    for seed, path in enumerate(low):
        wavfile.write(path, 11_025, np.random.default_rng(seed).standard_normal(11_025).astype(np.float32) * 0.1)
    with caplog.at_level(logging.WARNING):
        features = speech_features(LogMel(n_bands=40), [*sounds[:2], *low], 120.0)
    (record,) = caplog.records
    assert "2 of 4 sound files are sampled below the 16000 Hz of LogMel" in record.getMessage()
    assert "5512.5 Hz" in record.getMessage()
    out = features[str(low[0])]
    assert out.shape == (40, 120)
    assert out[-2:, 20:100].mean() < out[10:20, 20:100].mean() - 5


def test_what_cannot_be_computed(sounds, tmp_path):
    with pytest.raises(DataNotFoundError, match=r"gone\.wav does not exist"):
        speech_features(LogMel(), [tmp_path / "gone.wav"], 120.0)

    class Broken(LogMel):
        def frames(self, sound):
            features, times = super().frames(sound)
            return np.where(times > 0.2, np.nan, features), times

    with pytest.raises(DataError, match=r"Broken gives values that are not finite for .*a\.wav"):
        speech_features(Broken(n_bands=20), sounds[:1], 120.0, cache=tmp_path / "c")
    assert not (tmp_path / "c").exists()
