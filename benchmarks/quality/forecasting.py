"""Forecasting on ETTh1 and Weather: learned, random and no embeddings, by the papers' protocol and by ours.

    python benchmarks/quality/forecasting.py --etth1 ETTh1.csv --weather WTH.csv

Every encoder has the architecture, the inputs and the number of steps of configs/autotcl/etth1.yaml, for all series.
Writes docs/results/forecasting.md and .csv, and the table of the README; what is there already of other series stays.
Without a file the pages are written again from the table.
"""

from __future__ import annotations

import argparse
import copy
import logging
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from pretrain import pretrain
from torch import nn

from tscl.augmenters import ChannelScaling, Compose, CutOut, Jitter, LatentMask, OverlappingCrops
from tscl.cli.fit import build
from tscl.data import SeriesDataModule, SeriesTask
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
from tscl.heads import HierarchicalHead
from tscl.learners import ContrastiveLearner

HERE = Path(__file__).resolve().parents[2]
CONFIG = HERE / "configs" / "autotcl" / "etth1.yaml"
RESULTS = HERE / "docs" / "results"
LEARNED = ("AutoTCL", "TS2Vec", "fixed augmentations")
MODELS = (*LEARNED, "random weights")
NOTE = """\
MSE / MAE of standardised values by steps ahead, and their mean ± standard deviation over seeds (rows without any do not
depend on one). The papers' protocol: ridge regression from the embedding of a step to the next values. *ours*: the mean
of four ridges that forecast the change from the last value, on centred lags, on distances from moving averages, on the
same with the hour, and on the embedding; *no embedding* leaves the last one out. All encoders have one architecture and
one input, random weights included: the variables, their differences from moving averages, and the calendar.
Written by `benchmarks/quality/forecasting.py`."""
MARKS = "<!-- forecasting -->", "<!-- /forecasting -->"
BATCHES = 32
"""Steps of training, the same for every series and model."""


def trained(args: argparse.Namespace, path: str, multivariate: bool, model: str, seed: int) -> nn.Module:
    """Return the encoder of a model, trained on the training part of a series."""
    given = ["--data.path", path, "--data.multivariate", str(multivariate).lower(), "--seed_everything", str(seed)]
    cli = build(["--config", str(CONFIG), *given, *args.override], run=False)
    learner: ContrastiveLearner = cli.model
    module: SeriesDataModule = cli.datamodule
    if model == "random weights":
        return learner.build(module.n_channels).eval()
    heads, views = [copy.deepcopy(head) for head in learner.heads], dict(learner.views)
    if model == "TS2Vec":
        heads = [HierarchicalHead()]
        views = {"crops": Compose([OverlappingCrops(), LatentMask("binomial")])}
    elif model == "fixed augmentations":
        views = {"learned": Compose([Jitter(0.3), ChannelScaling(0.3), CutOut(0.2)])}
    learner = ContrastiveLearner(
        learner._factory, heads, views, lr=learner.lr, weight_decay=learner.weight_decay,
        averaging=learner.averaging, seed=seed,
    )  # fmt: skip
    return pretrain(learner, module, max_steps=args.steps, max_epochs=-1, precision=cli.trainer.precision)


def baselines() -> dict[str, Forecaster]:
    """Return what needs no encoder."""
    centred = lag_features(200, centred=True)
    return {
        "last value": LastValue(),
        "last day": SeasonalNaive(),
        "ridge on 200 lags": RidgeForecaster(lag_features(200)),
        "ridge on 200 centred lags": RidgeForecaster(centred, centred=True),
        "ridge on 200 centred lags, refit": RidgeForecaster(centred, centred=True, refit=True),
    }


def judged(args: argparse.Namespace, path: str, multivariate: bool, task: SeriesTask) -> Iterator[ForecastResults]:
    """Train and judge everything, a seed at a time."""
    for seed in args.seeds:
        forecasters = baselines()
        blocks = level_free_blocks()
        forecasters["ours, no embedding"] = MeanForecaster(blocks)
        for model in args.models:
            began = time.perf_counter()
            encoder = trained(args, path, multivariate, model, seed)
            features = embedding_features(encoder)
            print(f"{task.name}, {model}, seed {seed}: trained in {time.perf_counter() - began:.0f} s", flush=True)
            forecasters[model] = RidgeForecaster(features)
            forecasters[f"ours, {model}"] = MeanForecaster([*blocks, level_free_ridge(features)])
        yield evaluate_forecasts(forecasters, task, args.horizons, seed=seed)


def write(results: ForecastResults, series: str, steps: int) -> None:
    """Put the numbers of a series into the table, in the place of older ones."""
    path = RESULTS / "forecasting.csv"
    table = results.summary().assign(series=series, steps=steps)
    if path.exists():
        old = pd.read_csv(path)
        table = pd.concat([old[old["series"] != series], table], ignore_index=True)
    table.to_csv(path, index=False)


def report() -> str:
    """Return the page, from the table."""
    table = pd.read_csv(RESULTS / "forecasting.csv", dtype={"horizon": str})
    lines = ["# Forecasting", "", *NOTE.splitlines()]
    for series, rows in table.groupby("series", sort=False):
        horizons = list(dict.fromkeys(rows["horizon"]))
        seeds, steps = rows["seeds"].max(), rows["steps"].max()
        lines += ["", f"## {series}", "", f"Seeds: {seeds}; training steps: {steps}.", ""]
        lines += [f"| model | {' | '.join(horizons)} |", "|---" * (1 + len(horizons)) + "|"]
        for model, own in rows.groupby("model", sort=False):
            found = own.set_index("horizon")
            lines.append(f"| {model} | {' | '.join(cell(found.loc[one], one == 'mean') for one in horizons)} |")
    return "\n".join([*lines, ""])


def short_report() -> str:
    """Return the table of the README: means over horizons, a column a series."""
    table = pd.read_csv(RESULTS / "forecasting.csv", dtype={"horizon": str})
    means = table[table["horizon"] == "mean"]
    columns = list(dict.fromkeys(means["series"]))
    lines = [f"| model | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for model in dict.fromkeys(means["model"]):
        found = means[means["model"] == model].set_index("series")
        cells = [cell(found.loc[one], True) if one in found.index else "-" for one in columns]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_pages() -> None:
    """Write the page of the results and the table of the README."""
    (RESULTS / "forecasting.md").write_text(report())
    path = HERE / "README.md"
    before, rest = path.read_text().split(MARKS[0])
    path.write_text(f"{before}{MARKS[0]}\n\n{short_report()}\n\n{MARKS[1]}{rest.split(MARKS[1])[1]}")


def cell(row: pd.Series, spread: bool) -> str:
    """Return MSE / MAE, with the standard deviation over seeds where there is one."""
    return " / ".join(
        f"{row[name]:.3f}" + (f" ± {row[f'{name}_sd']:.3f}" if spread and row[f"{name}_sd"] > 0 else "")
        for name in ("mse", "mae")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--etth1", help="ETTh1.csv")
    parser.add_argument("--weather", help="WTH.csv")
    parser.add_argument("--modes", nargs="+", default=["univariate", "multivariate"])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--horizons", nargs="+", type=int)
    parser.add_argument("--steps", type=int, default=BATCHES)
    parser.add_argument("--override", nargs=argparse.REMAINDER, default=[], help="further settings, as for tscl fit")
    parser.add_argument("--dry", action="store_true", help="print only")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    for name, path in (("ETTh1", args.etth1), ("Weather", args.weather)):
        for mode in args.modes if path else ():
            cli = build(
                [
                    "--config",
                    str(CONFIG),
                    "--data.path",
                    path,
                    "--data.multivariate",
                    str(mode == "multivariate").lower(),
                ],
                run=False,
            )
            results = ForecastResults.join(list(judged(args, path, mode == "multivariate", cli.datamodule.task)))
            print(results.to_markdown(), flush=True)
            if not args.dry:
                write(results, f"{name}, {mode}", args.steps)
    if not args.dry:
        write_pages()


if __name__ == "__main__":
    main()
