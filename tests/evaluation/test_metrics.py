import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tscl.data.recording import Channels
from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError
from tscl.evaluation.bootstrap import bootstrap_interval, bootstrap_metrics, percentile_interval
from tscl.evaluation.metrics import METRICS, classification_metrics, group_ids, vote, vote_level


def random_predictions(seed, n=60, k=3, ties=True):
    rng = np.random.default_rng(seed)
    y = np.r_[np.arange(k), rng.integers(0, k, n - k)]
    proba = rng.dirichlet(np.ones(k), n)
    if ties:
        proba = np.round(proba, 1) + 0.01
        proba /= proba.sum(axis=1, keepdims=True)
    return y, proba, rng.integers(0, 8, n)


def dataset(table, target="sick", levels=("patient", "recording", "trial")):
    channels = Channels(("a",), ("eeg",), "uV", 100.0)
    return WindowDataset(np.zeros((len(table), 1, 4), "float32"), table, channels, levels, target)


def test_binary_metrics_by_hand():
    y = np.array([0, 0, 0, 1, 1])
    p1 = np.array([0.1, 0.4, 0.8, 0.6, 0.9])
    found = classification_metrics(y, np.c_[1 - p1, p1], 2)
    assert found["accuracy"] == pytest.approx(4 / 5)
    assert found["precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["recall"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["f1"] == pytest.approx((0.8 + 0.8) / 2)
    assert found["auroc"] == pytest.approx(5 / 6)
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(y, p1))
    healthy_first = (1 + 1 + 3 / 4) / 3
    sick_first = (1 + 2 / 3) / 2
    assert found["auprc"] == pytest.approx((healthy_first + sick_first) / 2)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_metrics_equal_scikit_learn(k):
    y, proba, _ = random_predictions(k, n=80, k=k)
    found = classification_metrics(y, proba, k)
    hot = np.eye(k)[y]
    if k > 2:
        assert found["auroc"] == pytest.approx(sk.roc_auc_score(y, proba, multi_class="ovr", average="macro"))
    assert found["auprc"] == pytest.approx(sk.average_precision_score(hot, proba, average="macro"))
    assert found["f1"] == pytest.approx(sk.f1_score(y, proba.argmax(1), average="macro"))
    assert tuple(found) == METRICS


def test_one_class_gives_nan_and_says_why(caplog):
    found = classification_metrics(np.array([1, 1]), np.array([[0.2, 0.8], [0.6, 0.4]]), 2)
    assert np.isnan(found["auroc"])
    assert np.isnan(found["auprc"])
    assert found["accuracy"] == 0.5
    assert "class [0]" in caplog.text


def test_absent_class_is_left_out_of_the_macro_average(caplog):
    y, proba, _ = random_predictions(0, k=3)
    y = np.where(y == 2, 0, y)
    expected = np.mean([sk.roc_auc_score(y == k, proba[:, k]) for k in (0, 1)])
    assert classification_metrics(y, proba, 3)["auroc"] == pytest.approx(expected)
    assert "averaged over the other classes" in caplog.text


@pytest.mark.parametrize(
    ("y", "proba", "words"),
    [
        (np.array([0, 1]), np.ones((3, 2)), "shape"),
        (np.array([], int), np.ones((0, 2)), "no labelled window"),
        (np.array([0, -1]), np.ones((2, 2)), "class indices"),
        (np.array([0, 2]), np.ones((2, 2)), "class indices"),
        (np.array([0, 1]), np.full((2, 2), np.nan), "diverged"),
    ],
)
def test_unusable_predictions(y, proba, words):
    with pytest.raises(DataError, match=words):
        classification_metrics(y, proba, 2)


def test_vote_is_the_mean_in_order_of_appearance():
    proba = np.array([[1.0, 0], [0, 1], [0.5, 0.5], [0.2, 0.8]])
    voted, order = vote(proba, np.array(["p2", "p1", "p2", "p1"]))
    assert order.tolist() == ["p2", "p1"]
    np.testing.assert_allclose(voted, [[0.75, 0.25], [0.1, 0.9]])
    with pytest.raises(DataError, match="one id a window"):
        vote(proba, np.arange(3))


def test_vote_level_is_the_coarsest_with_one_label():
    table = pd.DataFrame(
        {
            "patient": ["a", "a", "a", "b", "b", "b"],
            "recording": ["1", "1", "2", "1", "1", "2"],
            "trial": ["x", "y", "z", "x", "y", "z"],
            "sick": [0, 0, 0, 1, 1, 1],
            "task": ["rest", "rest", "sum", "rest", "rest", "sum"],
            "beat": ["N", "V", "N", "V", "N", "V"],
        }
    )
    table = pd.concat([table, table.assign(beat=["V", "N", "V", "N", "V", "N"])], ignore_index=True)
    assert vote_level(dataset(table)) == "patient"
    assert vote_level(dataset(table, "task")) == "recording"
    assert vote_level(dataset(table, "beat")) is None
    assert vote_level(dataset(table, None)) is None
    assert vote_level(dataset(table), dataset(table, "task")) == "recording"
    partly = table.assign(sick=[0, None, 0, 1, 1, None] * 2)
    assert vote_level(dataset(partly)) == "patient"


def test_group_ids_tell_recordings_of_two_patients_apart():
    table = pd.DataFrame({"patient": ["a", "a", "b"], "recording": ["1", "2", "1"], "trial": "x", "sick": 0})
    assert group_ids(dataset(table), "recording").tolist() == [0, 1, 2]
    assert group_ids(dataset(table), "patient").tolist() == [0, 0, 1]
    with pytest.raises(DataError, match="no level 'site'"):
        group_ids(dataset(table), "site")


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4), st.booleans())
def test_bootstrap_equals_the_obvious_slow_version(seed, k, ties):
    y, proba, patients = random_predictions(seed, n=40, k=k, ties=ties)
    found = bootstrap_metrics(y, proba, patients, n_resamples=6, seed=seed)
    names = pd.unique(patients)
    copies = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=6)
    for r in range(6):
        drawn = zip(names, copies[r], strict=True)
        rows = np.concatenate([np.repeat(np.flatnonzero(patients == p), c) for p, c in drawn])
        expected = classification_metrics(y[rows], proba[rows], k)
        for name in METRICS:
            np.testing.assert_allclose(found[name][r], expected[name], atol=1e-12, err_msg=name)


def test_bootstrap_in_chunks_equals_bootstrap_at_once(monkeypatch):
    y, proba, patients = random_predictions(0)
    whole = bootstrap_metrics(y, proba, patients, n_resamples=20)
    monkeypatch.setattr("tscl.evaluation.bootstrap.CELLS", 130)
    for name, values in bootstrap_metrics(y, proba, patients, n_resamples=20).items():
        np.testing.assert_array_equal(values, whole[name])


def test_interval_over_patients_is_wider_than_over_windows_and_holds_the_estimate():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(20), 30)
    right = np.repeat(rng.random(20) < 0.7, 30)
    y = np.repeat(np.arange(20) % 2, 30)
    p1 = np.where(right, y, 1 - y) * 0.8 + 0.1
    proba = np.c_[1 - p1, p1]
    by_patient = bootstrap_interval(y, proba, patients, metrics=["accuracy"])["accuracy"]
    by_window = bootstrap_interval(y, proba, np.arange(600), metrics=["accuracy"])["accuracy"]
    assert by_patient[1] - by_patient[0] > 3 * (by_window[1] - by_window[0])
    assert by_patient[0] <= classification_metrics(y, proba, 2)["accuracy"] <= by_patient[1]
    wide = bootstrap_interval(y, proba, patients, metrics=["accuracy"], level=0.99)["accuracy"]
    assert wide[0] <= by_patient[0]
    assert wide[1] >= by_patient[1]


def test_interval_covers_the_true_accuracy_about_as_often_as_it_says():
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        ability = rng.choice([0.55, 0.95], 40)
        patients = np.repeat(np.arange(40), 10)
        y = rng.integers(0, 2, 400)
        p1 = np.where(rng.random(400) < ability[patients], y, 1 - y) * 0.8 + 0.1
        low, high = bootstrap_interval(
            y, np.c_[1 - p1, p1], patients, metrics=["accuracy"], n_resamples=200, level=0.9, seed=seed
        )["accuracy"]
        covered += low <= 0.75 <= high
    assert 80 <= covered <= 97


def test_interval_errors_and_degenerate_cases(caplog):
    y, proba, _ = random_predictions(0, k=2)
    with pytest.raises(ConfigError, match="auc"):
        bootstrap_interval(y, proba, y, metrics=["auc"])
    with pytest.raises(ConfigError, match="between 0 and 1"):
        percentile_interval(np.arange(3.0), 95)
    with pytest.raises(DataError, match="one id a window"):
        bootstrap_metrics(y, proba, y[:-1])
    assert all(np.isnan(v).all() for v in bootstrap_interval(y, proba, np.zeros(len(y))).values())
    assert "one patient only" in caplog.text
    one_class = bootstrap_interval(np.zeros(len(y), int), proba, np.arange(len(y)), n_resamples=10)
    assert np.isnan(one_class["auroc"]).all()
    assert np.isfinite(one_class["accuracy"]).all()
