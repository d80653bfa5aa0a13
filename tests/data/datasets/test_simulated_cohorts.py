"""The simulated cohorts: geometry, determinism, physics, and an effect that is neither trivial nor hopeless."""

import time

import numpy as np
import pytest
from scipy.signal import find_peaks

from tscl.data.datasets import SimulatedECG, SimulatedEEG
from tscl.data.datasets.simulated_ecg import ANGLE, STRENGTH, WIDTH, Hearts, dipole, rotation
from tscl.data.datasets.simulated_eeg import POSITIONS
from tscl.data.datasets.simulation import coloured_noise
from tscl.errors import ConfigError

BOTH = pytest.mark.parametrize("study", [SimulatedECG, SimulatedEEG], ids=lambda study: study.__name__)


@BOTH
def test_default_cohort(study):
    start = time.process_time()
    data = study().load()
    assert time.process_time() - start < 5
    assert study().check_counts(data) == ""
    people = data.metadata.drop_duplicates("patient")
    assert len(data) == 1800
    assert people["disease"].value_counts().to_dict() == {0: 30, 1: 30}
    assert data.metadata.groupby("trial")["patient"].nunique().eq(1).all()
    assert data.metadata.groupby("trial").size().eq(5).all()
    assert (people["severity"] > 0).eq(people["disease"] == 1).all()
    assert np.isfinite(data.numpy()).all()


@BOTH
def test_same_seed_same_cohort(study):
    first, again, other = (study(n_patients=4, n_trials=2, seed=seed).load() for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.numpy(), again.numpy())
    assert first.metadata.equals(again.metadata)
    assert not np.allclose(first.numpy(), other.numpy())


@BOTH
def test_recordings_have_the_asked_for_shape(study):
    made = study(n_patients=3, n_trials=2, n_windows=3, seconds=2.0, sfreq=125.0).recordings()
    assert len(made) == 6
    assert {r.data.shape[1] for r in made} == {500}
    assert made[0].ids == {"patient": "P1", "trial": "P1/000"}
    assert made[0].channels.sfreq == 125.0


@BOTH
@pytest.mark.parametrize(
    "wrong", [{"n_patients": 1}, {"n_trials": 0}, {"n_windows": 0}, {"seconds": 0.01}, {"sfreq": -1.0}], ids=str
)
def test_impossible_settings_are_refused(study, wrong):
    with pytest.raises(ConfigError, match="at least"):
        study(**wrong)


def test_unknown_channels_are_refused():
    with pytest.raises(ConfigError, match="must be different ones of I, II"):
        SimulatedECG(leads=("I", "V9"))
    with pytest.raises(ConfigError, match="must be different"):
        SimulatedEEG(ch_names=("O1", "O1"))
    with pytest.raises(ConfigError, match="up to 250 Hz"):
        SimulatedECG(sfreq=500.0)


def test_dipole_beats_at_the_asked_for_rate():
    hearts = Hearts(
        np.array([60.0, 90.0]), np.tile(ANGLE, (2, 1)), np.tile(WIDTH, (2, 1)), np.tile(STRENGTH, (2, 1, 1))
    )
    step, seconds = 1 / 250, 12
    intervals = np.tile([1.0, 60 / 90], (2 * seconds * 250 - 1, 1))
    track = dipole(hearts, intervals, np.zeros(2), step)
    for row, interval in zip(track[:, 0], (1.0, 60 / 90), strict=True):
        peaks = find_peaks(row[250:], height=0.6 * row[250:].max())[0]
        np.testing.assert_allclose(np.diff(peaks) * step, interval, atol=2 * step)
    assert 0.6 < track[0, 0, 250:].max() < 1.2  # the R wave of 0.95 mV, less what its neighbours take


def test_integration_converges():
    hearts = Hearts(np.array([70.0]), ANGLE[None], WIDTH[None], STRENGTH[None])
    rough = dipole(hearts, np.full((2 * 500 - 1, 1), 0.86), np.zeros(1), 1 / 250)
    fine = dipole(hearts, np.full((2 * 2000 - 1, 1), 0.86), np.zeros(1), 1 / 1000)
    assert np.abs(rough[0, :, :480] - fine[0, :, : 480 * 4 : 4]).max() < 0.01


def test_rotation_keeps_lengths():
    turns = rotation(np.random.default_rng(0).normal(size=(5, 3)))
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.tile(np.eye(3), (5, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(rotation(np.array([[0, 0, np.pi / 2]]))[0] @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_noise_lies_in_its_band():
    noise = coloured_noise(np.random.default_rng(0), (200, 1000), 100.0, 5.0, 10.0, 3.0)
    power = np.abs(np.fft.rfft(noise * np.hanning(1000))) ** 2
    frequency = np.fft.rfftfreq(1000, 0.01)
    inside = (frequency > 4.5) & (frequency < 10.5)
    assert power[:, inside].sum() / power.sum() > 0.98
    assert noise.std() == pytest.approx(3.0, rel=0.05)


def test_electrodes_are_those_of_mne():
    mne = pytest.importorskip("mne")
    known = mne.channels.get_builtin_montages()
    info = mne.create_info(list(POSITIONS), 100.0, "eeg")
    info.set_montage("colin27_1020" if "colin27_1020" in known else "standard_1020")
    positions = np.array([channel["loc"][:3] for channel in info["chs"]])
    np.testing.assert_allclose(SimulatedEEG(ch_names=tuple(POSITIONS)).channels.positions, positions, atol=6e-4)


def features(data, study):
    """What a cardiologist or neurologist would measure: spectrum of a window, averaged over a patient."""
    x = data.numpy() * np.hanning(data.shape[2])
    power = np.log(np.abs(np.fft.rfft(x, axis=2))[:, :, : round(30 * data.duration)] + 1e-3)
    codes = data.codes("patient")
    mean = np.array([power[codes == c].mean(0).ravel() for c in range(codes.max() + 1)])
    label = data.metadata.drop_duplicates("patient")["disease"].to_numpy()
    return mean, label


def auroc_between_halves(rows, label, groups=None):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    groups = np.arange(len(rows)) if groups is None else groups
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=500))
    score = cross_val_predict(model, rows, label, groups=groups, cv=GroupKFold(4), method="decision_function")
    return roc_auc_score(label, score)


def test_eeg_disease_is_in_the_spectrum_not_in_the_raw_values():
    data = SimulatedEEG(n_patients=100, n_trials=3, seed=1).load()
    assert auroc_between_halves(*features(data, SimulatedEEG)) > 0.75
    raw = auroc_between_halves(data.numpy().reshape(len(data), -1)[::3], data.y[::3], data.codes("patient")[::3])
    assert raw < 0.65


def test_ecg_disease_lowers_the_st_segment():
    study = SimulatedECG(n_patients=80, n_trials=2, n_windows=8, leads=("V5",), seed=1)
    level = {}
    for recording in study.recordings():
        signal = recording.data[0] - np.median(recording.data[0])
        peaks = find_peaks(signal, height=0.6 * signal.max(), distance=40)[0]
        after = [
            signal[p + 10 : p + 13].mean() - signal[p - 9 : p - 6].mean() for p in peaks if 10 < p < len(signal) - 13
        ]
        level.setdefault(recording.labels["disease"], []).append(np.mean(after))
    assert np.mean(level[1]) < np.mean(level[0]) - 0.03
    spread = np.std(level[0])
    assert abs(np.mean(level[1]) - np.mean(level[0])) < 3 * spread


def test_effect_can_be_switched_off():
    data = SimulatedEEG(n_patients=60, n_trials=2, effect=0.0, seed=2).load()
    assert data.metadata["severity"].eq(0).all()
    assert 0.2 < auroc_between_halves(*features(data, SimulatedEEG)) < 0.75
