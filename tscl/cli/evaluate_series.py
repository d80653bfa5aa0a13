"""``tscl evaluate`` for a run on a long series: forecasts of the part that it never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import nn

from tscl.cli.run import RESULTS, Run, append_results, open_run, path_options
from tscl.data import SeriesTask
from tscl.data.leakage import name_some
from tscl.evaluation import (
    Forecaster,
    ForecastResults,
    LastValue,
    MeanForecaster,
    RidgeForecaster,
    SeasonalNaive,
    embedding_features,
    evaluate_forecasts,
    lag_features,
    level_free_blocks,
    level_free_ridge,
)
from tscl.evaluation.contexts import device_for

THIS = "this run"
CENTRED = "ridge on centred lags"
DRAWN = (THIS, f"ours, {THIS}", CENTRED)


def evaluate_series(
    run: Path,
    path: Path | None = None,
    horizons: list[int] | None = None,
    baselines: bool = True,
    context: int = 200,
    lags: int = 336,
    method: Literal["auto", "one_pass", "sliding"] = "auto",
    accelerator: str = "auto",
) -> None:
    """Forecast the test part of the run's series by ridge regression on embeddings, and score the forecasts.

    Args:
        run: Folder of a finished run.
        path: File of another series with as many variables; that of the run by default.
        horizons: Steps ahead; those of the run's series by default.
        baselines: Also judge the same encoder with random weights, the last value, the last day, ridge regression
            on lags, raw and centred on the last value, and our protocol without any embedding.
        context: Steps before its own that an embedding and the lags see; so many steps of the training part are not
            forecast from.
        lags: Lags that one of the ridges of our protocol sees; at most a quarter of the training part.
        method: Embed in one pass (causal encoders) or every window on its own (sliding).
        accelerator: auto, cpu or gpu.
    """
    opened = open_run(run, path_options(path))
    device = device_for(accelerator)

    lags = min(lags, opened.data.parts.sizes["train"] // 4)
    blocks = level_free_blocks(lags)
    forecasters: dict[str, Forecaster] = {}

    def judge(name: str, encoder: nn.Module) -> None:
        features = embedding_features(encoder, context, method=method, device=device, progress=True)
        forecasters[name] = RidgeForecaster(features, context=context)
        forecasters[f"ours, {name}"] = MeanForecaster([*blocks, level_free_ridge(features, lags)])

    judge(THIS, opened.encoder)
    if baselines:
        judge("random weights", opened.fresh(0).eval())
        forecasters["ours, no embedding"] = MeanForecaster(blocks)
        forecasters["last value"] = LastValue()
        forecasters["last day"] = SeasonalNaive()
        forecasters["ridge on lags"] = RidgeForecaster(lag_features(context), context=context)
        centred = lag_features(context, centred=True)
        forecasters[CENTRED] = RidgeForecaster(centred, centred=True, context=context)
    results = evaluate_forecasts(forecasters, opened.data, horizons, progress=True)
    _write(opened, results)


def _write(opened: Run, results: ForecastResults) -> None:
    task = opened.data
    first, last = (task.series.times[step] for step in (task.parts.test.start, task.parts.test.stop - 1))
    left_out = int(results.table["left_out_test"].max())
    what = f"{Path(task.series.source).name}, {name_some(task.series.names)}"
    statement = f"Forecasts of {what}, from {first} to {last}. MSE / MAE of standardised values by steps ahead."
    if left_out:
        statement += f" Up to {left_out} origins with missing values were left out."
    results.to_csv(opened.folder / RESULTS / "results.csv")
    _draw(results, task, opened.folder / RESULTS / "forecasts.png")
    append_results(opened.folder, statement, results.to_markdown())


def _draw(results: ForecastResults, task: SeriesTask, path: Path) -> None:
    """Draw the first variable, forecast from the middle of the test part over the middle one of the horizons."""
    from tscl.plotting import forecast_plot, save_figure

    horizon = sorted(results.kept)[len(results.kept) // 2]
    middle = len(results.kept[horizon]) // 2
    forecasts = {
        model: forecast[middle, :, 0] * task.scale[0] + task.mean[0]
        for (model, steps, _), forecast in results.forecasts.items()
        if steps == horizon and model in DRAWN
    }
    origin = int(results.kept[horizon][middle])
    axes = forecast_plot(task.series.values[0], forecasts, origin, times=task.series.times, ylabel=task.series.names[0])
    save_figure(axes, path)
