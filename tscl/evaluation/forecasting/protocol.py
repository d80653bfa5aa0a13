"""Every forecaster at every horizon, judged on the same origins."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tscl.data import SeriesTask
from tscl.errors import ConfigError, DataError
from tscl.evaluation.forecasting.models import Forecaster
from tscl.evaluation.forecasting.origins import Targets, origins_of, with_targets
from tscl.evaluation.forecasting.results import ForecastResults

log = logging.getLogger(__name__)

CELLS = 20_000_000
"""Most numbers that are forecast at once."""


def evaluate_forecasts(
    forecasters: Mapping[str, Forecaster],
    task: SeriesTask,
    horizons: Sequence[int] | None = None,
    *,
    seed: int = 0,
    keep: int = 3,
    progress: bool = False,
) -> ForecastResults:
    """Fit forecasters on a series and score them on all origins of its test part.

    The errors are those of standardised values, averaged over origins, steps ahead and variables. Origins whose targets
    are missing, or from which one of the forecasters cannot forecast, are left out for all of them and counted.

    Parameters
    ----------
    forecasters : mapping of str to Forecaster
        By the names that the table gives them.
    task : SeriesTask
        The series.
    horizons : sequence of int, optional
        Steps ahead; those of the task by default.
    seed : int
        What the table names it: the seed that the encoders were trained with.
    keep : int
        So many forecasts, spread over the test part, are kept for figures.
    progress : bool
        Show a progress bar.

    Returns
    -------
    ForecastResults

    Raises
    ------
    ConfigError
        When there is no forecaster, or a horizon that does not fit into the test part.
    DataError
        When no origin is left, or a forecaster has no origin to learn from.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from tscl.data import load_task
    >>> times = pd.date_range("2020-01-01", periods=1000, freq="1h")
    >>> frame = pd.DataFrame({"load": np.sin(np.arange(1000) * np.pi / 12)}, index=times)
    >>> task = load_task(frame, target="load", horizons=[24])
    >>> results = evaluate_forecasts({"last value": LastValue(), "last day": SeasonalNaive()}, task)
    >>> print(results.to_markdown())
    | model | 24 | mean |
    |---|---|---|
    | last value | 1.999 / 1.147 | 1.999 / 1.147 |
    | last day | 0.000 / 0.000 | 0.000 / 0.000 |
    """
    from tqdm import tqdm

    chosen = [int(horizon) for horizon in (task.horizons if horizons is None else horizons)]
    if not forecasters or not chosen:
        raise ConfigError("there is nothing to judge: name a forecaster and a horizon at least.")
    longest = task.parts.sizes["test"] - 1
    if min(chosen) < 1 or max(chosen) > longest:
        raise ConfigError(f"the horizons {chosen} do not fit into the test part: use 1 to {longest} steps.")
    rows: list[dict[str, Any]] = []
    results = ForecastResults(pd.DataFrame())
    with tqdm(total=len(chosen) * len(forecasters), disable=not progress, desc="forecasting") as bar:
        for horizon in chosen:
            every = origins_of(task.parts.test, horizon)
            origins = every[with_targets(task.x[: task.n_variables], every, horizon)]
            kept = origins[np.linspace(0, max(0, len(origins) - 1), min(keep, len(origins))).astype(int)]
            judged = {}
            for name, forecaster in forecasters.items():
                bar.set_postfix_str(f"{name}, {horizon} steps")
                judged[name] = _judge(forecaster, task, horizon, origins)
                results.forecasts[name, horizon, seed] = forecaster.predict(task, kept).astype(np.float32)
                bar.update()
            scored = np.all([np.isfinite(errors).all(axis=0) for errors, _ in judged.values()], axis=0)
            left_out = _left_out(task, horizon, len(every), int(scored.sum()))
            results.origins[horizon], results.kept[horizon] = origins[scored], kept
            for name, (errors, facts) in judged.items():
                results.errors[name, horizon, seed] = errors[:, scored]
                mse, mae = errors[:, scored].mean(axis=1)
                counts = {"n_test": int(scored.sum()), "left_out_test": left_out}
                rows.append(
                    {"model": name, "horizon": horizon, "seed": seed, "mse": mse, "mae": mae, **counts, **facts}
                )
    results.table = pd.DataFrame(rows)
    return results


def _judge(
    forecaster: Forecaster, task: SeriesTask, horizon: int, origins: np.ndarray
) -> tuple[np.ndarray, dict[str, float]]:
    """Fit and forecast: return the mean squared and absolute error of every origin (2, n), and the facts of the fit."""
    start = time.perf_counter()
    forecaster.fit(task, horizon)
    values = task.x[: task.n_variables]
    errors = np.empty((2, len(origins)))
    size = max(1, CELLS // (horizon * len(values)))
    for first in range(0, len(origins), size):
        some = origins[first : first + size]
        difference = forecaster.predict(task, some).reshape(len(some), -1) - Targets(values, some, horizon)[:, :]
        errors[0, first : first + size] = (difference**2).mean(axis=1)
        errors[1, first : first + size] = np.abs(difference).mean(axis=1)
    return errors, {**forecaster.report, "seconds": time.perf_counter() - start}


def _left_out(task: SeriesTask, horizon: int, n_origins: int, n_scored: int) -> int:
    """Return how many origins are not scored; say so."""
    if not n_scored:
        raise DataError(
            f"{task.name}: no origin of the test part has its {horizon} targets and a forecast of every model: fill in "
            "missing values, or leave out the model that sees too many of them."
        )
    if n_scored < n_origins:
        log.warning(
            "%s, %d steps ahead: %d of %d origins of the test part miss targets or features and are left out.",
            task.name,
            horizon,
            n_origins - n_scored,
            n_origins,
        )
    return n_origins - n_scored
