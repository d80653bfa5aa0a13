import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.data.preprocessing import (
    AnnotatedTrials,
    CentredTrials,
    FixedTrials,
    Resample,
    Scale,
    SlidingWindows,
    Trial,
    WholeRecording,
)  # fmt: skip
from tscl.data.recording import Annotation, Channels, Recording
from tscl.errors import ConfigError, DataError


def ramp(seconds=10.0, sfreq=10.0, annotations=()):
    data = np.arange(round(seconds * sfreq), dtype=float)[None]
    channels = Channels(("a",), ("eeg",), "uV", sfreq)
    return Recording(data, channels, {"patient": "p"}, {"sick": 1}, list(annotations), "x/a.edf")


def spans(trials):
    return [(trial.onset, int(trial.data[0, 0]), int(trial.data[0, -1])) for trial in trials]


def test_whole_and_fixed_trials():
    assert spans(WholeRecording()(ramp())) == [(0.0, 0, 99)]
    assert spans(FixedTrials(4.0)(ramp())) == [(0.0, 0, 39), (4.0, 40, 79)]
    assert spans(FixedTrials(3.0, start=2.0, stop=9.0)(ramp())) == [(2.0, 20, 49), (5.0, 50, 79)]
    assert spans(FixedTrials(1.0, max_trials=2)(ramp())) == [(0.0, 0, 9), (1.0, 10, 19)]
    trial = FixedTrials(4.0)(ramp())[0]
    assert (trial.ids, trial.labels, trial.source) == ({"patient": "p"}, {"sick": 1}, "x/a.edf")
    with pytest.raises(DataError, match=r"a\.edf: the recording lasts 10 s"):
        FixedTrials(11.0)(ramp())


def test_centred_trials_fill_from_the_middle_outwards():
    assert spans(CentredTrials(4.0)(ramp())) == [(1.0, 10, 49), (5.0, 50, 89)]
    assert spans(CentredTrials(3.0)(ramp())) == [(2.0, 20, 49), (5.0, 50, 79)]
    assert spans(CentredTrials(1.0, max_trials=2)(ramp())) == [(4.0, 40, 49), (5.0, 50, 59)]
    assert spans(CentredTrials(8.0)(ramp())) == [(1.0, 10, 89)]
    with pytest.raises(DataError, match=r"a\.edf"):
        CentredTrials(11.0)(ramp())


def test_annotated_trials():
    marks = [
        Annotation(1.0, 2.0, "T1"),
        Annotation(4.0, 0.0, "T0"),
        Annotation(9.5, 2.0, "T1"),
        Annotation(5.0, 1.0, "T2"),
    ]
    trials = AnnotatedTrials(["T1", "T2"])(ramp(annotations=marks))
    assert spans(trials) == [(1.0, 10, 29), (5.0, 50, 59)]
    assert [trial.labels for trial in trials] == [{"sick": 1, "event": "T1"}, {"sick": 1, "event": "T2"}]
    around = AnnotatedTrials(before=0.5, after=0.5, label="cue")(ramp(annotations=marks))
    assert spans(around) == [(0.5, 5, 14), (3.5, 35, 44), (9.0, 90, 99), (4.5, 45, 54)]
    assert around[1].labels["cue"] == "T0"
    with pytest.raises(DataError, match=r"a\.edf: no trial for \['T9'\].*\['T0', 'T1', 'T2'\]"):
        AnnotatedTrials(["T9"])(ramp(annotations=marks))
    with pytest.raises(DataError, match="no trial for any"):
        AnnotatedTrials()(ramp())


def test_windows_of_the_ad_geometry():
    trial = WholeRecording()(ramp(5.0, 256.0))[0]
    windows, onsets = SlidingWindows(1.0, 0.5)(trial)
    assert windows.shape == (9, 1, 256)
    np.testing.assert_array_equal(windows[:, 0, 0], np.arange(9) * 128)
    np.testing.assert_allclose(onsets, np.arange(9) / 2)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 50), st.floats(0, 0.95))
def test_windows_lie_inside_and_leave_no_room_for_one_more(n_times, length, overlap):
    windows = SlidingWindows(length / 10.0, overlap)
    starts = windows.starts(n_times, 10.0)
    step = max(1, int(length * (1 - overlap) + 0.5))
    assert starts == [k * step for k in range(1000) if k * step + length <= n_times]


def test_window_errors():
    with pytest.raises(DataError, match=r"a\.edf: a trial of 100 time steps \(10 s\) is shorter than a window of 110"):
        SlidingWindows(11.0)(WholeRecording()(ramp())[0])
    for wrong in ((0.0, 0.0), (1.0, 1.0), (1.0, -0.1)):
        with pytest.raises(ConfigError):
            SlidingWindows(*wrong)
    with pytest.raises(ConfigError, match="shorter than one time step"):
        SlidingWindows(0.001)(WholeRecording()(ramp())[0])


def test_onsets_survive_steps_and_uneven_times():
    trial = Resample(5.0)(Scale()(FixedTrials(4.0)(ramp())[1]))
    assert isinstance(trial, Trial)
    assert SlidingWindows(2.0)(trial)[1] == [4.0, 6.0]
    uneven = WholeRecording()(ramp(0.6))[0]
    uneven.times = np.array([np.nan, 5.0, 5.1, np.nan, np.nan, 9.0])
    assert SlidingWindows(0.3)(uneven)[1] == [5.0, 9.0]
    part = FixedTrials(0.3)(uneven)[1]
    assert part.onset == 9.0
    np.testing.assert_array_equal(part.times, [np.nan, np.nan, 9.0])
    assert FixedTrials(2.0)(FixedTrials(4.0)(ramp())[1])[1].onset == 6.0
    halved = Resample(5.0)(uneven)
    np.testing.assert_array_equal(halved.times, [np.nan, 5.1, np.nan])
