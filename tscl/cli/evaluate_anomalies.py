"""``tscl evaluate`` for a run on a series with labelled anomalies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pandas as pd
from torch import nn

from tscl.cli.run import RESULTS, Run, append_results, open_run, path_options
from tscl.evaluation import anomaly
from tscl.evaluation.contexts import device_for
from tscl.files import atomic_file

THIS = "this run"


def evaluate_anomalies(
    run: Path,
    path: Path | None = None,
    label: str | None = None,
    part: Literal["val", "test"] = "test",
    delay: int | None = None,
    beta: float = 4.0,
    window: int = 21,
    context: int = 200,
    method: Literal["auto", "one_pass", "sliding"] = "auto",
    baselines: bool = True,
    accelerator: str = "auto",
) -> None:
    """Score every step of a series, raise alarms, and compare them with the labelled anomalies of its test part.

    Args:
        run: Folder of a finished run.
        path: File of another series with the same variables; that of the run by default.
        label: Column that is 1 where a step is an anomaly; that of the run by default.
        part: Judge the test part, or the validation part to choose settings on.
        delay: Steps after a segment's start within which an alarm must come; 3 for steps of an hour or more, 7 for
            shorter ones by default.
        beta: Standard deviations above the mean score of the training part that make an alarm.
        window: Steps of the local mean that scores are divided by; 0 for none.
        context: Steps before the scored one that the encoder sees.
        method: Embed in one pass (causal encoders) or every window on its own (sliding).
        baselines: Also judge the same encoder with random weights, and scores that need no encoder.
        accelerator: auto, cpu or gpu.
    """
    label_options = [] if label is None else ["--data.init_args.label", label]
    opened = open_run(run, [*path_options(path), *label_options])
    models: dict[str, nn.Module | Callable] = {THIS: opened.encoder}
    if baselines:
        models["random weights"] = opened.fresh(0)
        models["first difference"] = anomaly.difference_scores
        models["ridge on 24 lags"] = anomaly.ridge_residual_scores
        models["spectral residual"] = anomaly.spectral_residual_scores
    results = anomaly.evaluate_anomalies(
        models,
        opened.data,
        part=part,
        delay=delay,
        beta=beta,
        window=window,
        context=context,
        method=method,
        device=device_for(accelerator),
        progress=True,
    )
    _write(opened, results, part)


def _write(opened: Run, results: anomaly.AnomalyResults, part: str) -> None:
    source = Path(opened.data.series.source).name
    statement = (
        f"Anomalies in {source}, {part} part, {results.times[0]} to {results.times[-1]}. An alarm may come "
        f"{results.delay} steps after the start of a segment; the threshold is from the training part."
    )
    folder = opened.folder / RESULTS
    results.to_csv(folder / "results.csv")
    steps = {"label": results.labels, "score": results.scores[THIS], "alarm": results.alarms[THIS]}
    with atomic_file(folder / "alarms.csv") as temporary:
        pd.DataFrame(steps, index=results.times.rename("date")).to_csv(temporary)
    _draw(results, folder / "anomalies.png")
    append_results(opened.folder, statement, results.to_markdown())


def _draw(results: anomaly.AnomalyResults, path: Path) -> None:
    from tscl.plotting import alarms_over_time, save_figure

    limit = float(results.table.set_index("model").loc[THIS, "threshold"])
    axes = alarms_over_time(results.scores[THIS], results.alarms[THIS], results.labels, results.times, limit)
    save_figure(axes, path)
