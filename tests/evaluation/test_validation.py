"""Scores on the validation side: what they are, and that nothing of the test side is in them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge

from tscl.data import load_task
from tscl.data.datasets import SimulatedECG
from tscl.encoders import CausalConvEncoder, DilatedConvEncoder
from tscl.errors import ConfigError
from tscl.evaluation import embed_series
from tscl.evaluation.forecasting.ridge import ALPHAS
from tscl.evaluation.validation import forecast_score, labelled_sides, probe_score, validation_task


@pytest.fixture(scope="module")
def split():
    return SimulatedECG(n_patients=16, n_trials=2).load().split(by="patient", val=0.25, test=0.25, seed=0)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return DilatedConvEncoder(4, dim=8, hidden=8, depth=2)


def with_noise(split, side):
    """The same split with noise in the place of the signals of a side."""
    signals = np.array(split.train.signals)
    rows = split.sides[side].rows
    signals[rows] = np.random.default_rng(0).normal(size=signals[rows].shape)
    copies = {name: data.select(np.arange(len(data))) for name, data in split.sides.items()}
    for data in copies.values():
        data.signals = signals
    return replace(split, **copies)


@pytest.mark.parametrize("metric", ["f1", "auroc"])
def test_the_probe_depends_on_training_and_validation_patients_alone(split, encoder, metric):
    score = probe_score(encoder, split, metric)
    assert 0 <= score <= 1
    assert probe_score(encoder, with_noise(split, "test"), metric) == score
    assert probe_score(encoder, with_noise(split, "train"), metric) != score
    assert probe_score(encoder, with_noise(split, "val"), metric) != score


def test_sides_without_two_classes_are_refused(split):
    with pytest.raises(ConfigError, match="no validation patients"):
        labelled_sides(replace(split, val=None))
    with pytest.raises(ConfigError, match="the training patients have no labels"):
        labelled_sides(replace(split, train=split.train.with_target(None)))
    one = split.val.select(split.val.y == 0)
    with pytest.raises(ConfigError, match="the validation patients have no labels of two classes"):
        labelled_sides(replace(split, val=one))
    train, val = labelled_sides(split)
    assert (len(train), len(val)) == (len(split.train), len(split.val))


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(0)
    times = pd.date_range("2020-01-01", periods=1000, freq="1h")
    load = np.sin(np.arange(1000) * np.pi / 12) + rng.normal(size=1000).cumsum() * 0.05
    return load_task(pd.DataFrame({"load": load}, index=times), target="load", horizons=[6, 24])


def test_forecasts_are_scored_on_the_second_half_of_the_validation_part(task):
    torch.manual_seed(0)
    encoder = CausalConvEncoder(len(task.x), dim=6, hidden=4, depth=2, trend_kernels=[1, 2]).eval()
    H, y = embed_series(encoder, task.x, context=200).astype(float), task.x[0].astype(float)
    begin, end = task.parts.val.start, task.parts.val.stop
    middle = (begin + end) // 2

    def rows(start, stop, horizon):
        origins = np.arange(start, stop - horizon)
        return H[origins], np.stack([y[t + 1 : t + 1 + horizon] for t in origins])

    errors = []
    for horizon in (6, 24):
        train, chosen, scored = (rows(*part, horizon) for part in ((200, begin), (begin, middle), (middle, end)))
        fits = [Ridge(alpha).fit(*train) for alpha in ALPHAS]
        misses = [fit.predict(chosen[0]) - chosen[1] for fit in fits]
        best = np.argmin([np.sqrt((miss**2).mean()) + np.abs(miss).mean() for miss in misses])
        errors.append(((fits[best].predict(scored[0]) - scored[1]) ** 2).mean())
    score = forecast_score(encoder, task, "mse")
    assert score == pytest.approx(np.mean(errors), rel=1e-3)
    x = task.x.copy()
    x[:, end:] = np.nan
    assert forecast_score(encoder, replace(task, x=x), "mse") == score


def test_horizons_that_do_not_fit_are_left_out(task):
    assert validation_task(task)[1] == [6, 24]
    assert validation_task(replace(task, horizons=(24, 100)))[1] == [24]
    with pytest.raises(ConfigError, match=r"none of the horizons \[100, 720\] fits into half of the validation part"):
        validation_task(replace(task, horizons=(100, 720)))
