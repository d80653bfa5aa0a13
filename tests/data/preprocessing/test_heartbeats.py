import logging

import neurokit2 as nk
import numpy as np
import pytest

from tscl.data.preprocessing import HeartbeatTrials, Preprocessing, RecordingSkipped, Resample, Scale, SlidingWindows
from tscl.data.preprocessing.heartbeats import common_peaks, lead_peaks, median_interval
from tscl.data.readers import read
from tscl.data.recording import Channels, Recording
from tscl.errors import ConfigError, DataError


def ecg(seconds=30, rate=75, n_leads=3, sfreq=250):
    wave = nk.ecg_simulate(
        duration=seconds, sampling_rate=sfreq, heart_rate=rate, random_state=3, heart_rate_std=0, noise=0
    )
    data = np.stack([wave * gain for gain in (1.0, 0.5, 2.0, 1.5)[:n_leads]])
    names = tuple(f"L{i}" for i in range(n_leads))
    return Recording(data, Channels(names, ("ecg",) * n_leads, "mV", sfreq), {"patient": "p"}, source="x/r.hea")


def test_beats_are_centred_padded_and_adjacent():
    record = ecg()
    trials = HeartbeatTrials()(record)
    interval = round(median_interval(lead_peaks(record)))
    assert interval == pytest.approx(200, abs=4)
    assert all(trial.data.shape == (3, 3000) for trial in trials)
    assert len(trials) == 3
    left = (300 - interval) // 2
    for trial in trials:
        beats = trial.data.reshape(3, 10, 300)
        assert (beats[:, :, :left] == 0).all()
        assert (beats[:, :, left + interval :] == 0).all()
        assert np.abs(np.abs(beats[0]).argmax(axis=1) - 150).max() <= 2
        start = round(trial.onset * 250)
        np.testing.assert_array_equal(beats[:, 0, left : left + interval], record.data[:, start : start + interval])
    assert trials[0].labels["peak_leads"] == 3


def test_one_window_a_beat_with_the_onset_of_the_beat():
    windows = Preprocessing([Resample(250), Scale()], HeartbeatTrials(), windows=SlidingWindows(1.2))(ecg(sfreq=500))
    assert [array.shape for array in windows.signals] == [(10, 3, 300)] * 3
    onsets = np.concatenate(windows.onsets)
    np.testing.assert_allclose(np.diff(onsets), 0.8, atol=0.02)
    assert windows.channels.sfreq == 250.0


@pytest.mark.parametrize(("incomplete", "sizes"), [("drop", [3000, 3000]), ("keep", [3000, 3000, 1500])])
def test_last_trial(incomplete, sizes):
    found = [trial.data.shape[1] for trial in HeartbeatTrials(incomplete=incomplete)(ecg(22))]
    assert found[:2] == sizes[:2]
    assert len(found) == len(sizes)
    assert all(size % 300 == 0 for size in found)


def test_records_that_are_left_out_or_refused():
    with pytest.raises(RecordingSkipped, match=r"r\.hea: the median R-R interval of 3\d\d time steps exceeds"):
        HeartbeatTrials()(ecg(40, rate=45))
    with pytest.raises(DataError, match=r"r\.hea: \d whole beats, 10 make a trial.*keep"):
        HeartbeatTrials()(ecg(8))
    flat = ecg()
    flat.data[:] = 0
    with pytest.raises(DataError, match=r"r\.hea: no R peaks in any of 3 leads"):
        HeartbeatTrials()(flat)
    with pytest.raises(ConfigError):
        HeartbeatTrials(incomplete="pad")
    with pytest.raises(ConfigError):
        HeartbeatTrials(beats=0)


def test_dead_leads_do_not_kill_the_record(caplog):
    record = ecg(n_leads=4)
    record.data[1] = 0
    record.data[3] = np.nan
    with caplog.at_level(logging.INFO, logger="tscl"):
        trials = HeartbeatTrials()(record)
    assert len(trials) == 3
    assert trials[0].labels["peak_leads"] == 2
    assert "2 of 4 leads" in caplog.text
    assert np.isnan(trials[0].data[3].reshape(10, 300)[:, 150]).all()


def test_common_peaks_survive_missed_and_false_ones():
    truth = np.arange(100, 2000, 200)
    rng = np.random.default_rng(0)
    leads = [truth + rng.integers(-3, 4, size=len(truth)) for _ in range(5)]
    leads[1] = np.delete(leads[1], 2)
    leads[2] = np.delete(leads[2], [0, 5])
    leads[3] = np.sort(np.append(leads[3], [190, 777]))
    found = common_peaks(leads, 37.5)
    assert len(found) == len(truth)
    assert np.abs(found - truth).max() <= 3


def test_median_interval_without_outliers():
    regular = np.arange(0, 2000, 200)
    with_gap = np.delete(regular, [3, 4, 5, 7, 8])
    assert median_interval([regular, with_gap]) == 200


def test_real_records(shared_data):
    ptb = read(shared_data / "wfdb_samples" / "s0010_re.hea")
    trials = HeartbeatTrials()(Scale()(Resample(250)(ptb)))
    assert trials[0].data.shape == (15, 3000)
    assert len(trials) == 5
    windows = np.concatenate([trial.data.reshape(15, 10, 300).transpose(1, 0, 2) for trial in trials])
    template = np.median(windows, axis=0)
    correlations = [np.corrcoef(window.ravel(), template.ravel())[0, 1] for window in windows]
    assert np.median(correlations) > 0.9


def test_real_beats_agree_with_the_annotators(shared_data):
    record = read(shared_data / "mitdb" / "100.hea", annotation="atr")
    record.data = record.data[:, : 360 * 120]
    peaks = common_peaks(lead_peaks(Resample(250)(record)), 37.5) / 250
    marked = np.array([a.onset for a in record.annotations if a.description in "NAV" and a.onset < 119])
    distance = np.abs(peaks[:, None] - marked[None]).min(axis=0)
    assert (distance < 0.1).mean() > 0.97
    assert abs(len(peaks) - len(marked)) <= 4
