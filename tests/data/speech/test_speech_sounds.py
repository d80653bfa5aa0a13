"""Sound files of every kind, whole and damaged."""

import logging

import numpy as np
import pytest
from scipy.io import wavfile

from tscl.data.speech.sounds import read_sound, sound_seconds
from tscl.errors import DataError, DataNotFoundError

STEPS = np.array([-1.0, -0.5, 0.0, 0.25, 0.5])


def write(path, data, rate=8000):
    wavfile.write(path, rate, data)
    return path


@pytest.mark.parametrize(
    "data",
    [
        (STEPS * 2**15).astype(np.int16),
        (STEPS * 2**31).astype(np.int32),
        (STEPS * 2**7 + 2**7).astype(np.uint8),
        STEPS.astype(np.float32),
        STEPS,
        STEPS[:, None].astype(np.float32),
    ],
    ids=["int16", "int32", "uint8", "float32", "float64", "one column"],
)
def test_every_format_is_scaled_to_one(tmp_path, data):
    sound, sfreq = read_sound(write(tmp_path / "a.wav", data))
    assert (sound.dtype, sound.shape, sfreq) == (np.float32, (5,), 8000.0)
    np.testing.assert_array_equal(sound, STEPS)


def test_channels_are_averaged_with_one_warning(tmp_path, caplog):
    path = write(tmp_path / "a.wav", np.stack([STEPS, STEPS / 2, np.zeros(5)], axis=1).astype(np.float32))
    with caplog.at_level(logging.WARNING):
        sound, _ = read_sound(path)
    np.testing.assert_allclose(sound, STEPS / 2, atol=1e-7)
    assert [record.getMessage() for record in caplog.records] == [f"{path} has 3 channels: their mean is used."]


@pytest.mark.parametrize(("rate", "new"), [(44100, 16000), (8000, 16000), (16000, 120), (22050, 16000)])
def test_resampling_keeps_the_length_in_seconds_and_the_tone(tmp_path, rate, new):
    n = rate // 2 + 7
    tone = np.sin(2 * np.pi * 10 * np.arange(n) / rate).astype(np.float32)
    sound, sfreq = read_sound(write(tmp_path / "a.wav", tone, rate), new)
    assert sfreq == new
    assert len(sound) == int(np.ceil(n * new / rate))
    inside = slice(len(sound) // 5, -len(sound) // 5)
    np.testing.assert_allclose(sound[inside], np.sin(2 * np.pi * 10 * np.arange(len(sound)) / new)[inside], atol=0.01)


def test_length_in_seconds(tmp_path):
    assert sound_seconds(write(tmp_path / "a.wav", np.zeros(2000, np.int16))) == 0.25


def test_missing_and_unreadable_files(tmp_path):
    path = tmp_path / "a.wav"
    with pytest.raises(DataNotFoundError, match=r"a\.wav does not exist"):
        read_sound(path)
    for content in (b"", b"not a sound", b"RIFF\x24\0\0\0WAVE" + b"fmt " * 10):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.wav (cannot be read as a WAV file|is cut off)"):
            read_sound(path)


def test_a_file_that_was_cut_off_is_refused(tmp_path):
    whole = write(tmp_path / "a.wav", np.ones(1000, np.int16)).read_bytes()
    for kept in (len(whole) - 100, 1000, 44):
        (tmp_path / "b.wav").write_bytes(whole[:kept])
        with pytest.raises(DataError, match=rf"b\.wav is cut off: it has {kept} of the {len(whole)} bytes"):
            read_sound(tmp_path / "b.wav")


def test_a_header_that_counts_itself_is_forgiven(tmp_path):
    whole = bytearray(write(tmp_path / "a.wav", np.full(1000, 2**14, np.int16)).read_bytes())
    whole[4:8] = len(whole).to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(whole)
    np.testing.assert_array_equal(read_sound(tmp_path / "a.wav")[0], np.full(1000, 0.5))


def test_empty_and_infinite_sounds_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no sound"):
        read_sound(write(tmp_path / "a.wav", np.zeros(0, np.int16)))
    for bad in (np.nan, np.inf):
        with pytest.raises(DataError, match="infinite or missing values"):
            read_sound(write(tmp_path / "a.wav", np.array([0, bad], np.float32)))
