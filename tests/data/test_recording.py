from __future__ import annotations

import json

import numpy as np
import pytest

from tscl.data import Annotation, Channels, Recording
from tscl.errors import DataError


def channels(**change) -> Channels:
    return Channels(**{"names": ["C3", "C4"], "types": ["eeg", "eeg"], "unit": "uV", "sfreq": 250, **change})


def test_channels_are_normalised():
    made = channels()
    assert made.names == ("C3", "C4")
    assert made.sfreq == 250.0
    assert isinstance(made.sfreq, float)
    assert len(made) == 2
    assert made == channels()


def test_channels_that_disagree():
    with pytest.raises(DataError, match="2 channel names but 1 channel types"):
        channels(types=["eeg"])
    with pytest.raises(DataError, match=r"positions have shape \(2, 2\), expected \(2, 3\)"):
        channels(positions=np.zeros((2, 2)))


def test_pick():
    positions = np.arange(6.0).reshape(2, 3)
    picked = channels(types=["eeg", "ecg"], positions=positions).pick(np.array([1]))
    assert (picked.names, picked.types) == (("C4",), ("ecg",))
    assert picked.positions.tolist() == [[3, 4, 5]]
    assert channels().pick([1, 0]).names == ("C4", "C3")


def test_differences_in_words():
    assert channels().differences(channels()) == ""
    said = channels().differences(channels(names=["C3", "Cz"], sfreq=100, unit="mV"))
    assert said == (
        "missing channels ['C4']; additional channels ['Cz']; sampling rate 100 Hz instead of 250 Hz; "
        "unit 'mV' instead of 'uV'"
    )
    assert channels().differences(channels(names=["C4", "C3"])) == "the same channels in another order"


def test_channels_survive_json():
    for positions in (None, np.array([[0.0, 1.0, np.nan], [1.0, 2.0, 3.0]])):
        made = channels(positions=positions)
        again = Channels.from_dict(json.loads(json.dumps(made.to_dict())))
        assert again.to_dict().keys() == made.to_dict().keys()
        assert (again.names, again.types, again.unit, again.sfreq) == (made.names, made.types, made.unit, made.sfreq)
        if positions is None:
            assert again.positions is None
        else:
            np.testing.assert_array_equal(again.positions, positions)


def test_channels_with_positions_can_be_compared():
    positions = np.zeros((2, 3))
    assert channels(positions=positions) == channels(positions=positions.copy())
    assert channels(positions=positions) != channels(positions=positions + 1)
    assert channels(positions=positions) != channels()


def test_recording():
    recording = Recording(
        np.zeros((2, 500)), channels(), {"patient": "P01"}, annotations=[Annotation(1.0, 0.5, "beat")], source="a/b.edf"
    )
    assert recording.data.dtype == np.float32
    assert recording.data.flags.c_contiguous
    assert (recording.sfreq, recording.duration, recording.name) == (250.0, 2.0, "b.edf")
    assert Recording(np.zeros((2, 5)), channels(), {"patient": "P01", "trial": "3"}).name == "P01/3"
    assert Recording(np.zeros((2, 5)), channels()).name == "recording"


def test_recording_of_the_wrong_shape():
    for data in (np.zeros(5), np.zeros((1, 2, 5))):
        with pytest.raises(DataError, match=r"x.edf: data has shape .*, expected \(channels, times\)"):
            Recording(data, channels(), source="x.edf")
    with pytest.raises(DataError, match="recording: 3 rows of data but 2 channel names"):
        Recording(np.zeros((3, 5)), channels())
