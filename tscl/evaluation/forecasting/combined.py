"""Our own protocol: forecasts of changes, from features that do not know the level, averaged over kinds of features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tscl.data import SeriesTask
from tscl.data.series import level_differences
from tscl.errors import ConfigError
from tscl.evaluation.forecasting.features import Features, PerVariable, lag_features
from tscl.evaluation.forecasting.models import Forecaster, RidgeForecaster

SPANS = (3, 6, 12, 24, 72, 168, 336, 720)
WIDE_ALPHAS = tuple(float(alpha) for alpha in np.logspace(-1, 6, 22))
N_LAGS = 336


def average_features(spans: Sequence[int] = SPANS, clock: bool = False) -> Features:
    """Take the distance of each variable from its moving averages, at many scales.

    Parameters
    ----------
    spans : sequence of int
        Steps of the moving averages, see :func:`tscl.data.series.level_differences`.
    clock : bool
        Add the step of the season (for hourly data the hour of the day), one-hot.

    Returns
    -------
    callable
        From a task to a table for each variable, (T, len(spans)) or with ``clock`` (T, len(spans) + season).

    Examples
    --------
    >>> features = average_features((24, 168), clock=True)
    """

    def features(task: SeriesTask) -> PerVariable:
        values = task.x[: task.n_variables]
        phase = np.eye(task.season)[np.arange(values.shape[1]) % task.season]

        def table(variable: int) -> np.ndarray:
            differences = level_differences(values[variable : variable + 1], spans).T
            return np.concatenate([differences, phase], axis=1) if clock else differences

        return PerVariable(len(values), table)

    return features


class MeanForecaster(Forecaster):
    """The mean of several forecasts.

    Parameters
    ----------
    forecasters : sequence of Forecaster
        Each with a weight of its own in no other way than being there.

    Raises
    ------
    ConfigError
        When there is none.
    """

    def __init__(self, forecasters: Sequence[Forecaster]) -> None:
        if not forecasters:
            raise ConfigError("there are no forecasts to average: name a forecaster at least.")
        self.forecasters = list(forecasters)

    def fit(self, task: SeriesTask, horizon: int) -> MeanForecaster:
        """Fit all of them."""
        for forecaster in self.forecasters:
            forecaster.fit(task, horizon)
        self.report = {}
        return self

    def predict(self, task: SeriesTask, origins: np.ndarray) -> np.ndarray:
        """Forecast with all of them and average."""
        return np.mean([forecaster.predict(task, origins) for forecaster in self.forecasters], axis=0)


def level_free_ridge(features: Features, context: int = N_LAGS) -> RidgeForecaster:
    """Return a ridge that forecasts the change from the last value, with standardised features.

    Its penalty is chosen on the validation part among 22 from 0.1 to a million; then it is fitted again on both parts.

    Parameters
    ----------
    features : callable
        What it sees.
    context : int
        So many steps at the beginning of the training part are no origins.
    """
    return RidgeForecaster(features, centred=True, standardise=True, refit=True, context=context, alphas=WIDE_ALPHAS)


def level_free_blocks(n_lags: int = N_LAGS) -> list[RidgeForecaster]:
    """Return the ridges of our protocol that need no encoder.

    One sees lags centred on the last value, one the distances from eight moving averages, one these and the clock.

    Parameters
    ----------
    n_lags : int
        How many lags; so many steps at the beginning of the training part are no origins for any of the three.
    """
    every = [lag_features(n_lags, centred=True), average_features(), average_features(clock=True)]
    return [level_free_ridge(features, n_lags) for features in every]
