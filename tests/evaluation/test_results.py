import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tscl.data import Channels, WindowDataset, kfold
from tscl.errors import DataError
from tscl.evaluation import ClassicalBaseline, Results, bootstrap_interval, evaluate


class Means(nn.Module):
    """An encoder that returns its input."""

    dim = 2

    def forward(self, x, mask=None, sensors=None):
        return x


def cohort(shift=0.0, n_patients=12, per_patient=10):
    rng = np.random.default_rng(0)
    n = n_patients * per_patient
    patient = np.repeat(np.arange(n_patients), per_patient)
    label = np.tile([0, 1], n // 2)
    offset = rng.normal(size=n_patients)[patient] * shift
    X = rng.normal(size=(n, 2, 30)) * 0.1 + (label + offset)[:, None, None]
    table = pd.DataFrame({"patient": patient.astype(str), "trial": np.arange(n), "y": label})
    channels = Channels(("a", "b"), ("eeg", "eeg"), "uV", 30.0)
    return WindowDataset(X.astype("float32"), table, channels, target="y")


SETTINGS = {"methods": ("probe",), "label_fractions": (1.0,), "n_resamples": 200, "pooling": "mean"}


def folds(data, **kwargs):
    splits = kfold(data, n_splits=3, val=0.0, seed=0)
    return [evaluate(Means(), split, seeds=(i,), **{**SETTINGS, **kwargs}) for i, split in enumerate(splits)]


def test_joined_folds_test_every_patient_once():
    parts = folds(cohort(shift=1.0))
    joined = Results.join(parts, n_resamples=200)
    assert len(joined.table) == sum(len(part.table) for part in parts)
    key = ("pretrained", "probe", 1.0, "window")
    y, proba, patients = joined.predictions[key][0]
    assert len(y) == 120
    assert len(set(patients)) == 12
    expected = bootstrap_interval(y, proba, patients, n_resamples=200)["f1"]
    row = joined.summary().set_index(["unit", "metric"]).loc[("window", "f1")]
    assert (row["low"], row["high"]) == pytest.approx(expected)
    assert row["seeds"] == 3
    values = [part.table.query("unit == 'window' and metric == 'f1'")["value"].item() for part in parts]
    assert row["mean"] == pytest.approx(np.mean(values))


def test_folds_that_test_a_patient_twice_are_refused():
    part = folds(cohort())[0]
    with pytest.raises(DataError, match="tested in two folds"):
        Results.join([part, part])


def score(data, **kwargs):
    table = Results.join(folds(data, **kwargs), n_resamples=2).table
    return table.query("unit == 'window' and metric == 'auroc'")["value"].mean()


def test_centring_within_patients_removes_what_differs_between_them():
    data = cohort(shift=5.0)
    assert score(data) < 0.9
    assert score(data, centre_by="patient") > 0.99


def test_a_baseline_can_be_standardised_within_patients():
    data = cohort(shift=5.0)
    features = ClassicalBaseline("amplitudes", standardise_by="patient").transform(data)
    for patient in range(12):
        part = features[data.codes("patient") == patient]
        np.testing.assert_allclose(part.mean(0), 0, atol=1e-9)
        np.testing.assert_allclose(part.std(0), 1, atol=1e-9)
    constant = data.select(np.arange(1))
    assert np.isfinite(ClassicalBaseline("amplitudes", standardise_by="patient").transform(constant)).all()


def test_the_encoder_is_not_asked_twice_for_what_is_known():
    calls = []

    class Counting(Means):
        def forward(self, x, mask=None, sensors=None):
            calls.append(len(x))
            return x

    split = next(kfold(cohort(), n_splits=3, val=0.0))
    evaluate(Counting(), split, seeds=(0, 1, 2), **{**SETTINGS, "label_fractions": (1.0, 0.5)})
    assert sum(calls) == 120
    assert torch.is_grad_enabled()
