"""Forecasters: ridge regression on features, and the two that know the last value or the last day."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tscl.data import SeriesTask
from tscl.errors import ConfigError, DataError
from tscl.evaluation.forecasting.features import Cached, Features, PerVariable, table_of
from tscl.evaluation.forecasting.origins import Targets, origins_of, with_targets
from tscl.evaluation.forecasting.ridge import ALPHAS, RidgePath


class Forecaster(ABC):
    """What is judged: fitted for a horizon, it forecasts from any origin.

    Attributes
    ----------
    report : dict of str to float
        What :meth:`fit` found out, for the table of results: ``alpha``, ``n_train`` and ``left_out_train`` of a ridge.
    """

    report: dict[str, float]

    @abstractmethod
    def fit(self, task: SeriesTask, horizon: int) -> Forecaster:
        """Learn from the training part, and choose on the validation part.

        Parameters
        ----------
        task : SeriesTask
        horizon : int
            Steps ahead.
        """

    @abstractmethod
    def predict(self, task: SeriesTask, origins: np.ndarray) -> np.ndarray:
        """Forecast the steps after each origin from those up to it.

        Parameters
        ----------
        task : SeriesTask
        origins : ndarray, shape (n,), int64
            Steps of the series.

        Returns
        -------
        ndarray, shape (n, horizon, V), float
            In standardised units; NaN where there is no forecast.
        """


class LastValue(Forecaster):
    """The last known value of each variable, for ever."""

    def fit(self, task: SeriesTask, horizon: int) -> LastValue:
        """Keep the horizon."""
        self.report, self.horizon = {}, horizon
        return self

    def predict(self, task: SeriesTask, origins: np.ndarray) -> np.ndarray:
        """Repeat the value at the origin, or the last before it that is known."""
        known = pd.DataFrame(task.x[: task.n_variables].T).ffill().to_numpy()
        return np.repeat(known[origins][:, None], self.horizon, axis=1)


class SeasonalNaive(Forecaster):
    """The last known value of each variable at the same time of the day (or of another season).

    Parameters
    ----------
    season : int, optional
        In steps; that of the task, a day, by default.

    Raises
    ------
    ConfigError
        When the season has no step.
    """

    def __init__(self, season: int | None = None) -> None:
        if season is not None and season < 1:
            raise ConfigError(f"the season is {season} steps: it must be 1 or more.")
        self.season = season

    def fit(self, task: SeriesTask, horizon: int) -> SeasonalNaive:
        """Keep the horizon."""
        self.report, self.horizon = {}, horizon
        return self

    def predict(self, task: SeriesTask, origins: np.ndarray) -> np.ndarray:
        """Repeat the last season; where it misses a value, the season before gives it."""
        season = self.season or task.season
        values = pd.DataFrame(task.x[: task.n_variables].T)
        known = values.groupby(np.arange(len(values)) % season).ffill().to_numpy()
        ahead = np.arange(1, self.horizon + 1)
        steps = origins[:, None] + ahead - season * -(-ahead // season)
        return np.where((steps >= 0)[..., None], known[steps.clip(min=0)], np.nan)


@dataclass
class RidgeForecaster(Forecaster):
    """Ridge regression from the features at t to all values from t + 1 to t + horizon at once.

    The protocol of TS2Vec (Yue et al., AAAI 2022, section 4.2), CoST and AutoTCL, with embeddings as features: origins
    of a part are the steps whose targets lie in the part, and the penalty is the one of smallest RMSE + MAE on the
    validation part. Origins whose features or targets are missing are left out and counted.

    Parameters
    ----------
    features : callable
        What is seen: from a task to a table (T, p), or to a table for each variable, which is then forecast from its
        own table by weights of its own. See :func:`lag_features`, :func:`embedding_features`, :func:`beside`.
    centred : bool
        Forecast the difference from the value at the origin.
    standardise : bool
        See :class:`RidgePath`.
    refit : bool
        Fit again on training and validation part, with the penalty that was chosen.
    context : int
        So many steps at the beginning of the training part are no origins.
    alphas : tuple of float
        Penalties to choose among.
    """

    features: Features
    centred: bool = False
    standardise: bool = False
    refit: bool = False
    context: int = 200
    alphas: tuple[float, ...] = ALPHAS
    report: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _fitted: tuple[SeriesTask, int] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.features = self.features if isinstance(self.features, Cached) else Cached(self.features)

    def fit(self, task: SeriesTask, horizon: int) -> RidgeForecaster:
        """Fit on the training part with the penalty that is best on the validation part; once a task and horizon.

        Raises
        ------
        DataError
            When no origin of a part has all of its features and targets.
        """
        if self._fitted is not None and self._fitted[0] is task and self._fitted[1] == horizon:
            return self
        table, self.horizon = self.features(task), horizon
        n = task.n_variables
        groups = [slice(v, v + 1) for v in range(n)] if isinstance(table, PerVariable) else [slice(0, n)]
        fitted = [self._fit(task, table_of(table, group.start), group) for group in groups]
        self._models = [(group, model) for group, (model, _, _) in zip(groups, fitted, strict=True)]
        self.report = {
            "alpha": float(np.median([model.alpha_ for model, _, _ in fitted])),
            "n_train": min(rows for _, rows, _ in fitted),
            "left_out_train": max(left_out for _, _, left_out in fitted),
        }
        self._fitted = (task, horizon)
        return self

    def _fit(self, task: SeriesTask, table: np.ndarray, variables: slice) -> tuple[RidgePath, int, int]:
        """Return the ridge of some variables, and how many training origins it used and left out."""
        train, n_train = self._rows(task, table, variables, task.parts.train, "training", self.context)
        val, _ = self._rows(task, table, variables, task.parts.val, "validation")
        ridge = RidgePath(self.standardise).fit(*train, *val, alphas=self.alphas)
        if self.refit:
            both = slice(task.parts.train.start, task.parts.val.stop)
            train, n_train = self._rows(task, table, variables, both, "training", self.context)
            ridge.fit(*train, alphas=[ridge.alpha_])
        return ridge, len(train[0]), n_train - len(train[0])

    def _rows(
        self, task: SeriesTask, table: np.ndarray, variables: slice, part: slice, what: str, skip: int = 0
    ) -> tuple[tuple[np.ndarray, Targets], int]:
        """Return features and targets of the origins of a part that have both, and how many origins there are."""
        values = task.x[variables]
        origins = origins_of(part, self.horizon, skip)
        whole = origins[with_targets(values, origins, self.horizon)]
        if self.centred:
            whole = whole[np.isfinite(values[:, whole]).all(axis=0)]
        X = table[whole].astype(np.float64)
        complete = np.isfinite(X).all(axis=1)
        if not complete.any():
            raise DataError(
                f"{task.name}: none of {len(origins)} origins in the {what} part has all of its features and the "
                f"{self.horizon} steps after it: use a shorter horizon or context, or fill in missing values."
            )
        return (X[complete], Targets(values, whole[complete], self.horizon, self.centred)), len(origins)

    def predict(self, task: SeriesTask, origins: np.ndarray) -> np.ndarray:
        """Forecast from each origin; NaN where a feature is missing."""
        table, values = self.features(task), task.x[: task.n_variables]
        parts = [
            model.predict(table_of(table, variables.start)[origins]).reshape(len(origins), self.horizon, -1)
            for variables, model in self._models
        ]
        forecast = np.concatenate(parts, axis=2)
        return forecast + values[:, origins].T[:, None] if self.centred else forecast
