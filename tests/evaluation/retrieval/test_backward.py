import logging

import numpy as np
import pytest
import torch
from listening import heard

from tscl.errors import ConfigError, DataError
from tscl.evaluation import BackwardModel, evaluate_retrieval

TRAIN, VAL, TEST = np.arange(60), np.arange(60, 80), np.arange(100, 140)


def slow_ridge(model, train, rows, alpha):
    """Standardise, lay the lags out one by one, and solve the normal equations."""
    x = train.signals[rows].astype(float)
    mean, scale = x.mean(axis=(0, 2), keepdims=True), x.std(axis=(0, 2), keepdims=True)
    x = (x - mean) / scale
    steps = np.arange(4, 80 - 16, model.every)
    X = np.concatenate([[window[:, t + s] for t in steps] for window in x for s in [np.arange(-4, 17)]])
    X = X.reshape(len(X), -1)
    Y = np.concatenate([train.speech[s][:, steps].T for s in train.metadata["segment"].to_numpy()[rows]])
    centred = X - X.mean(axis=0)
    weights = np.linalg.solve(centred.T @ centred + alpha * np.eye(X.shape[1]), centred.T @ (Y - Y.mean(axis=0)))
    return weights, Y.mean(axis=0) - X.mean(axis=0) @ weights, X, mean, scale


@pytest.mark.parametrize("batch_size", [7, 60])
def test_weights_are_those_of_a_plain_ridge(batch_size):
    train = heard(TRAIN, noise=1.0)
    model = BackwardModel(alphas=[30.0], batch_size=batch_size).fit(train, heard(VAL))
    for number in range(2):
        rows = np.arange(60 * number, 60 * (number + 1))
        weights, intercept, X, mean, scale = slow_ridge(model, train, rows, 30.0)
        inside = model.predict(train[rows[:1]])[0, :, 4:64:3].numpy()
        np.testing.assert_allclose(inside, (X[:20] @ weights + intercept).T, atol=2e-5)
        # Beyond the end of the window the sensors count as their mean.
        last = np.zeros((6, 21))
        last[:, :5] = (train.signals[rows[0], :, -5:] - mean[0]) / scale[0]
        end = model.predict(train[rows[:1]])[0, :, -1].numpy()
        np.testing.assert_allclose(end, last.ravel() @ weights + intercept, atol=2e-5)


def test_a_linear_world_is_decoded_nearly_perfectly():
    model = BackwardModel().fit(heard(TRAIN, noise=1.0), heard(VAL, noise=1.0, seed=1))
    results = evaluate_retrieval({"linear": model}, heard(TEST, noise=1.0, seed=2))
    found = results.summary().set_index("metric")["mean"]
    assert found["top1"] > 0.98
    assert found["median_relative_rank"] == 0
    assert model.subjects_ == {0: "a", 1: "b"}


def test_the_penalty_is_that_of_the_best_cosine_on_validation_windows():
    train, val = heard(TRAIN[:6], noise=4.0), heard(VAL, noise=4.0, seed=1)
    alphas = (1e-2, 1.0, 100.0, 1e4)
    model = BackwardModel(alphas=alphas, every=1).fit(train, val)
    singles = {alpha: BackwardModel(alphas=[alpha], every=1).fit(train, val) for alpha in alphas}
    for number in range(2):
        cosines = {}
        for alpha, single in singles.items():
            batch = val[np.arange(20 * number, 20 * (number + 1))]
            mean = train.speech[:6, :, 4:64].mean(axis=(0, 2))[:, None]
            z, y = (t[:, :, 4:64].double().numpy() - mean for t in (single.predict(batch), batch.paired["speech"]))
            cosines[alpha] = (z * y).sum() / np.sqrt((z**2).sum() * (y**2).sum())
        assert model.cosines_[number] == pytest.approx(cosines, abs=1e-5)
        assert model.alphas_[number] == max(cosines, key=cosines.get)
    assert len(set(model.cosines_[0].values())) == 4


def test_without_validation_the_last_fifth_chooses_and_all_fit():
    train = heard(TRAIN, noise=1.0)
    model = BackwardModel(alphas=[1.0, 30.0]).fit(train)
    first = np.flatnonzero(np.tile(np.arange(60) < 48, 2))
    other = BackwardModel(alphas=[1.0, 30.0]).fit(
        train.select(first), train.select(np.setdiff1d(np.arange(120), first))
    )
    for number in range(2):
        assert model.cosines_[number] == pytest.approx(other.cosines_[number], abs=1e-4)
        weights = slow_ridge(model, train, np.arange(60 * number, 60 * (number + 1)), model.alphas_[number])[0]
        np.testing.assert_allclose(model._weights[number].coefficients.flatten(1).T, weights, atol=1e-5)
    with pytest.raises(DataError, match="subject a has one training window"):
        BackwardModel().fit(train.select([0]))


def test_windows_that_overlap_by_more_than_half_are_thinned():
    train = heard(TRAIN, noise=1.0)
    crowded = heard(TRAIN, noise=1.0)
    crowded.metadata["onset"] = np.tile(np.arange(60) * 0.5, 2)
    model = BackwardModel(alphas=[1.0]).fit(crowded, heard(VAL))
    other = BackwardModel(alphas=[1.0]).fit(train.select(np.arange(0, 120, 2)), heard(VAL))
    batch = heard(TEST)[:]
    torch.testing.assert_close(model.predict(batch), other.predict(batch))


def test_sensors_that_a_subject_lacks_are_left_out():
    train, val, test = heard(TRAIN, noise=1.0), heard(VAL, noise=1.0), heard(TEST, noise=1.0)
    for data in (train, val, test):
        mine = (data.metadata["patient"] == "b").to_numpy()
        data.signals[mine, 5] = np.nan
        data.signals[mine, 4] = 7.0
        data.signals[~mine, 3, :10] = np.nan
    model = BackwardModel().fit(train, val)
    assert model._weights[1].scaling.kept.tolist() == [0, 1, 2, 3]
    found = evaluate_retrieval({"linear": model}, test).by_subject().set_index(["model", "subject"])
    assert found.loc[("linear", "a"), "top1"] > 0.95
    assert found.loc[("linear", "b"), "top1"] > 0.9
    train.signals[60:] = np.nan
    with pytest.raises(DataError, match="subject b has no sensor that varies"):
        BackwardModel().fit(train, val)


def test_a_single_missing_value_counts_as_the_mean():
    train = heard(TRAIN, noise=1.0)
    train.signals[0, 2, 5:9] = np.nan
    model = BackwardModel(alphas=[1.0]).fit(train)
    mean = np.nanmean(train.signals[:60, 2])
    missing, filled = train[:1], train[:1]
    filled.x[0, 2, 5:9] = torch.tensor(mean)
    torch.testing.assert_close(model.predict(missing), model.predict(filled), atol=1e-4, rtol=1e-4)
    assert model._weights[0].scaling.mean[2] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("lags", [(0.1, 0.1), (0.05, 0.2), (-0.4, -0.1), (-0.2, 0.2)])
def test_lags_reach_where_they_say(lags):
    """Sensors carry the speech of four steps (0.1 s) before: the lags must hold that one."""
    model = BackwardModel(lags=lags, alphas=[1e-2, 1e2]).fit(heard(TRAIN), heard(VAL, seed=1))
    top = evaluate_retrieval({"linear": model}, heard(TEST, seed=2)).summary().set_index("metric")["mean"]["top10"]
    if lags[0] <= 0.1 <= lags[1]:
        assert top == 1
    else:
        assert top < 0.5


def test_a_penalty_at_the_end_of_the_list_is_said(caplog):
    train, val = heard(TRAIN[:6], noise=10.0), heard(VAL, noise=10.0, seed=1)
    with caplog.at_level(logging.WARNING):
        model = BackwardModel(alphas=[1e-2, 1e2]).fit(train, val)
    assert model.alphas_ == {0: 1e2, 1: 1e2}
    said = [f"subject {name}: the largest penalty, 100, was chosen: a larger one may do better" for name in "ab"]
    assert [record.message for record in caplog.records] == said


def test_unknown_subjects_and_bad_settings_are_refused():
    model = BackwardModel(alphas=[1.0])
    windows = heard(TRAIN)
    with pytest.raises(ConfigError, match="not fitted"):
        model.predict(windows[:2])
    model.fit(windows, heard(VAL))
    batch = windows[:2]
    batch.sensors.subject[1] = -1
    with pytest.raises(ConfigError, match="no weights for the subject with index -1"):
        model.predict(batch)
    windows.subjects = ("b",)
    with pytest.raises(ConfigError, match="subject a of the training windows has no index"):
        model.fit(windows)
    with pytest.raises(ConfigError, match="span 100 steps, a window has 80"):
        BackwardModel(lags=(-1.0, 1.5)).fit(heard(TRAIN))
    for settings in ({"lags": (1, 0)}, {"step": 0}, {"alphas": []}, {"alphas": [0]}, {"every": 0}, {"batch_size": 0}):
        with pytest.raises(ConfigError):
            BackwardModel(**settings)
    windows = heard(TRAIN)
    windows.speech[3, 0, 0] = np.nan
    with pytest.raises(DataError, match="speech features hold NaN"):
        BackwardModel().fit(windows)
