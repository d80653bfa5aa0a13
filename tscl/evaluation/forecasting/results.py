"""The table that the judging of forecasts gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from tscl.errors import ConfigError, DataError
from tscl.evaluation.bootstrap import percentile_interval
from tscl.files import atomic_file

METRICS = ("mse", "mae")
Key: TypeAlias = tuple[str, int, int]
"""Model, horizon, seed."""


@dataclass
class ForecastResults:
    """What :func:`evaluate_forecasts` measured.

    Attributes
    ----------
    table : DataFrame
        One row a model, horizon and seed: ``mse`` and ``mae`` of standardised values, ``n_test`` (origins that were
        scored) and ``left_out_test``, ``seconds`` (fit and forecast), and for a ridge ``alpha`` (the median over
        variables where each has its own), ``n_train`` and ``left_out_train`` (origins).
    origins : dict of int to ndarray, shape (n_test,), int64
        By horizon: the steps that were forecast from and scored.
    errors : dict of (str, int, int) to ndarray, shape (2, n_test), float64
        By model, horizon and seed: mean squared and mean absolute error of every origin.
    kept : dict of int to ndarray, shape (k,), int64
        By horizon: the origins whose forecasts are kept.
    forecasts : dict of (str, int, int) to ndarray, shape (k, horizon, V), float32
        By model, horizon and seed: the forecasts that are kept, standardised.
    """

    table: pd.DataFrame
    origins: dict[int, np.ndarray] = field(default_factory=dict)
    errors: dict[Key, np.ndarray] = field(default_factory=dict)
    kept: dict[int, np.ndarray] = field(default_factory=dict)
    forecasts: dict[Key, np.ndarray] = field(default_factory=dict)

    @classmethod
    def join(cls, parts: Sequence[ForecastResults]) -> ForecastResults:
        """Put the results of several models or seeds on the same series into one.

        Parameters
        ----------
        parts : sequence of ForecastResults

        Returns
        -------
        ForecastResults

        Raises
        ------
        DataError
            When a model was judged twice with one seed, or models on different origins.
        """
        joined = cls(pd.concat([part.table for part in parts], ignore_index=True))
        twice = joined.table[joined.table.duplicated(["model", "horizon", "seed"])]
        if len(twice):
            model, horizon, seed = twice.iloc[0][["model", "horizon", "seed"]]
            raise DataError(f"{model} was judged twice {horizon} steps ahead with seed {seed}: give each its own seed.")
        for part in parts:
            for horizon, origins in part.origins.items():
                if not np.array_equal(joined.origins.setdefault(horizon, origins), origins):
                    raise DataError(
                        f"the results {horizon} steps ahead are of different origins: judge all models on one series, "
                        "with the same values missing."
                    )
            joined.errors |= part.errors
            joined.kept |= part.kept
            joined.forecasts |= part.forecasts
        return joined

    def summary(self) -> pd.DataFrame:
        """Average over seeds.

        Returns
        -------
        DataFrame
            ``model``, ``horizon`` (a number of steps, and ``"mean"`` over all of them), ``mse``, ``mae``, ``mse_sd``,
            ``mae_sd`` (standard deviation over seeds, NaN with one seed) and ``seeds``; in the order of the table.
        """
        columns = [*METRICS]
        mean = self.table.groupby(["model", "seed"], sort=False)[columns].mean().reset_index().assign(horizon="mean")
        whole = pd.concat([self.table[["model", "seed", "horizon", *columns]].astype({"horizon": object}), mean])
        groups = whole.groupby(["model", "horizon"], sort=False)
        spread = groups[columns].std().add_suffix("_sd")
        frame = pd.concat([groups[columns].mean(), spread, groups.size().rename("seeds")], axis=1).reset_index()
        order = {model: number for number, model in enumerate(self.table["model"].unique())}
        return frame.sort_values("model", key=lambda models: models.map(order), kind="stable", ignore_index=True)

    def to_markdown(self, metrics: Sequence[str] = METRICS, digits: int = 3) -> str:
        """Return a table with a line a model and a column a horizon, and their mean.

        Parameters
        ----------
        metrics : sequence of str
            ``"mse"``, ``"mae"``, or both, which share a cell.
        digits : int
            Behind the point.

        Returns
        -------
        str
            In a cell the mean over seeds, with more than one ± the standard deviation.
        """
        summary = self.summary()
        horizons = list(dict.fromkeys(summary["horizon"]))
        lines = ["| " + " | ".join(map(str, ["model", *horizons])) + " |", "|" + "---|" * (1 + len(horizons))]
        for model, rows in summary.groupby("model", sort=False):
            found = {
                row["horizon"]: " / ".join(_cell(row[name], row[f"{name}_sd"], digits) for name in metrics)
                for _, row in rows.iterrows()
            }
            lines.append("| " + " | ".join([str(model), *(found.get(one, "-") for one in horizons)]) + " |")
        return "\n".join(lines)

    def to_csv(self, path: str | Path) -> Path:
        """Write the tidy table; an older file stays when that fails."""
        with atomic_file(path) as temporary:
            self.table.to_csv(temporary, index=False)
        return Path(path)

    def intervals(
        self,
        reference: str | None = None,
        *,
        block: int | None = None,
        n_resamples: int = 1000,
        level: float = 0.95,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Interval of every error, or of its difference from a model's, by the moving-block bootstrap over origins.

        Neighbouring origins share most of their targets, so blocks of neighbours are drawn with replacement (Künsch,
        Annals of Statistics 1989), the same blocks for every model. The interval says how far another test part of
        the same kind may change the number; with a long horizon there are few independent blocks, and it is rough.

        Parameters
        ----------
        reference : str, optional
            Name of a model: take the difference from it. Errors are averaged over seeds first.
        block : int, optional
            Origins in a block; the horizon by default.
        n_resamples : int
            How many resamples.
        level : float
            Coverage, between 0 and 1.
        seed : int
            Of the draw.

        Returns
        -------
        DataFrame
            ``model``, ``horizon``, ``metric``, ``value``, ``low``, ``high``.

        Raises
        ------
        ConfigError
            When there is no such model, the block has no origin, or the level is not between 0 and 1.
        """
        models = list(self.table["model"].unique())
        if reference is not None and reference not in models:
            raise ConfigError(f"there is no model {reference!r} to compare with: use one of {', '.join(models)}.")
        if block is not None and block < 1:
            raise ConfigError(f"block is {block}: it must be 1 or more.")
        rows = []
        for horizon, origins in self.origins.items():
            size = min(block or horizon, len(origins))
            drawn = np.random.default_rng(seed).integers(
                len(origins) - size + 1, size=(n_resamples, -(-len(origins) // size))
            )
            mean = {
                model: np.mean(
                    [one for (name, steps, _), one in self.errors.items() if (name, steps) == (model, horizon)], 0
                )
                for model in models
            }
            for model in models:
                errors = mean[model] if reference is None else mean[model] - mean[reference]
                sums = np.cumsum(np.pad(errors, ((0, 0), (1, 0))), axis=1)
                means = (sums[:, size:] - sums[:, :-size]) / size
                for metric, value, blocks in zip(METRICS, errors.mean(axis=1), means, strict=True):
                    low, high = percentile_interval(blocks[drawn].mean(axis=1), level)
                    rows.append((model, horizon, metric, value, low, high))
        return pd.DataFrame(rows, columns=["model", "horizon", "metric", "value", "low", "high"])


def _cell(mean: float, sd: float, digits: int) -> str:
    return f"{mean:.{digits}f}" + ("" if np.isnan(sd) else f" ± {sd:.{digits}f}")
