import numpy as np
import pytest
from test_forecasts import Constant, make_task

from tscl.data import level_differences
from tscl.errors import ConfigError
from tscl.evaluation import (
    LastValue,
    MeanForecaster,
    RidgeForecaster,
    average_features,
    evaluate_forecasts,
    lag_features,
    level_free_blocks,
    level_free_ridge,
)


def test_the_mean_of_forecasts():
    task = make_task(variables=2)
    forecaster = MeanForecaster([Constant(1.0), Constant(4.0)]).fit(task, 3)
    np.testing.assert_array_equal(forecaster.predict(task, np.array([250, 251])), np.full((2, 3, 2), 2.5))
    with pytest.raises(ConfigError, match="nothing|no forecasts"):
        MeanForecaster([])


def test_averages_and_clock_of_every_variable():
    task = make_task(variables=2)
    table = average_features((4, 24), clock=True)(task)
    assert len(table) == 2
    expected = level_differences(task.x[1:2], (4, 24)).T
    np.testing.assert_allclose(table[1][:, :2], expected)
    np.testing.assert_array_equal(table[1][:, 2:], np.eye(24)[np.arange(400) % 24])
    assert average_features((4, 24))(task)[0].shape == (400, 2)


def test_our_protocol_does_not_know_the_level():
    """A series lifted by a constant in the test part is forecast just as much higher."""
    task = make_task()
    blocks = level_free_blocks(n_lags=30)
    assert len(blocks) == 3
    forecaster = MeanForecaster(blocks).fit(task, 5)
    origins = np.array([330, 340])
    before = forecaster.predict(task, origins)
    lifted = make_task()
    lifted.x[0] += 3.0
    other = MeanForecaster(level_free_blocks(n_lags=30)).fit(lifted, 5)
    np.testing.assert_allclose(other.predict(lifted, origins), before + 3.0, atol=1e-4)


def test_the_ridge_of_our_protocol_is_the_one_written_out():
    task = make_task()
    features = lag_features(30, centred=True)
    ours = level_free_ridge(features, context=30).fit(task, 5)
    alphas = tuple(np.logspace(-1, 6, 22))
    same = RidgeForecaster(features, centred=True, standardise=True, refit=True, context=30, alphas=alphas).fit(task, 5)
    origins = np.array([330, 350])
    np.testing.assert_allclose(ours.predict(task, origins), same.predict(task, origins))


def test_a_ridge_is_fitted_once_a_task_and_horizon():
    task, calls = make_task(), []

    def features(task):
        calls.append(1)
        return np.ones((task.x.shape[1], 2))

    shared = RidgeForecaster(features, context=10)
    models = {"one": MeanForecaster([shared, LastValue()]), "two": MeanForecaster([shared])}
    evaluate_forecasts(models, task, [5])
    first = shared._models
    assert shared.fit(task, 5)._models is first
    assert shared.fit(task, 4)._models is not first
    assert shared.fit(make_task(), 4)._models is not first
    assert len(calls) == 2
