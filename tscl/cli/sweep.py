"""``tscl sweep``: settings tried out, each by a run of its own, and judged on validation patients."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import yaml
from lightning.pytorch.cli import LightningArgumentParser

from tscl.cli.arguments import one_sentence, sentence
from tscl.cli.fit import Cli, build
from tscl.cli.search_space import DEFAULT_SPACE, Sweep, distributions, extremes, laid_over, settings_of
from tscl.cli.study import Plan, alone, ask, best_of, fail, finished, interrupted, open_study, require_optuna, succeed
from tscl.cli.sweep_report import in_words, report_trials, write_trials
from tscl.data import SeriesDataModule
from tscl.data.speech import SpeechDataModule
from tscl.errors import ConfigError
from tscl.evaluation.metrics import METRICS
from tscl.evaluation.validation import forecast_score, labelled_sides, probe_score, validation_task
from tscl.files import atomic_file
from tscl.learners import CrossModalLearner

if TYPE_CHECKING:
    from optuna import Study

FOLDER = "sweep"
ERRORS_OF_SERIES = ("mse", "mae")
LOOKED_AT = 32
"""So many windows of a side tell whether the data are those of before."""
FREE = (
    "trainer.default_root_dir", "trainer.accelerator", "trainer.devices", "trainer.enable_progress_bar",
    "checkpoint_every", "data.init_args.root", "data.init_args.path", "data.init_args.cache", "data.init_args.n_jobs",
    "data.init_args.num_workers", "data.init_args.download",
)  # fmt: skip
"""Settings that may change between two starts of a sweep."""


class SweepCli(Cli):
    """The settings of ``tscl fit``, and how many trials there are to be."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the number of trials."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--n_trials", type=int, required=True, help="Trials in all, earlier ones included.")


def sweep(args: list[str]) -> None:
    """Try settings out, one run each, and keep the best by the validation patients; test patients are not looked at.

    Raises
    ------
    ConfigError, DataError, DataNotFoundError
        For settings and files that cannot be used, a sweep that was begun otherwise, and when no trial succeeds.
    """
    require_optuna()
    cli = build(args, run=False, kind=SweepCli)
    if cli.config.n_trials < 1:
        raise ConfigError(f"--n_trials is {cli.config.n_trials}: ask for at least one trial.")
    plan = _plan(cli)
    space = distributions(plan.space)
    check_settings(cli, plan.space)
    facts, base, n_trials = _facts(cli, plan), _text(cli), cli.config.n_trials
    del cli  # and with it the data: every trial reads its own
    plan.folder.mkdir(parents=True, exist_ok=True)
    with alone(plan.folder):
        study = open_study(plan, facts)
        with atomic_file(plan.config) as temporary:
            temporary.write_text(base)
        for number in interrupted(study):
            shutil.rmtree(plan.trial(number), ignore_errors=True)
            _say(f"trial {number} was interrupted: its settings are tried again")
        while len(finished(study)) < n_trials:
            _try(plan, study, space, n_trials)
        report_trials(plan, study)


def _plan(cli: SweepCli) -> Plan:
    """Return what the configuration asks for, after the data were read and split."""
    root = cli.config.trainer.default_root_dir
    if not root:
        raise ConfigError("the sweep needs a folder: give --trainer.default_root_dir RUN.")
    if cli.trainer.world_size > 1:
        raise ConfigError("a sweep trains on one device: give --trainer.devices 1.")
    chosen = Sweep(**cli.config.sweep.as_dict())
    cli.datamodule.prepare_data()
    cli.datamodule.setup("fit")
    objective = chosen.objective or _default_objective(cli)
    _check_objective(cli, objective)
    small = objective in ERRORS_OF_SERIES or objective.endswith("loss")
    direction = chosen.direction or ("minimize" if small else "maximize")
    sides, base = _sides(cli.datamodule.split.manifest), yaml.safe_load(_text(cli))
    return Plan(Path(root) / FOLDER, chosen, chosen.space or DEFAULT_SPACE, objective, direction, sides, base)


def _default_objective(cli: SweepCli) -> str:
    if isinstance(cli.datamodule, SeriesDataModule):
        return "mse"
    if isinstance(cli.datamodule, SpeechDataModule):
        return "val/loss"
    if cli.datamodule.n_classes:
        return "f1"
    raise ConfigError("the data have no labels: name a value that training logs with --sweep.objective.")


def _check_objective(cli: SweepCli, objective: str) -> None:
    """Refuse what cannot be judged by, before anything is trained."""
    data = cli.datamodule
    if objective in METRICS:
        if isinstance(data, SeriesDataModule | SpeechDataModule):
            raise ConfigError(f"the data have no labels to judge by {objective}: choose another --sweep.objective.")
        labelled_sides(data.split)
    elif objective in ERRORS_OF_SERIES:
        if not isinstance(data, SeriesDataModule):
            raise ConfigError(f"{objective} judges forecasts of a series: choose another --sweep.objective.")
        validation_task(data.task)
    elif "/" not in objective:
        raise ConfigError(
            f"the objective is {objective!r}: choose among {', '.join([*METRICS, *ERRORS_OF_SERIES])}, or a value that "
            "training logs, such as val/loss."
        )


def check_settings(cli: SweepCli, space: Mapping[str, Any]) -> None:
    """Refuse settings that do not exist, and values that do not fit them, by parsing every end and every choice."""
    base = _text(cli)
    tree = yaml.safe_load(base)
    with one_sentence():
        for name, value in extremes(space):
            words = ["--config", base, "--config", json.dumps(laid_over(tree, {name: value})), "--n_trials", "1"]
            cli.parser.parse_args(words)


def _text(cli: SweepCli) -> str:
    """Return the configuration that ``tscl fit`` would take, as YAML."""
    config = cli.config.clone()
    for own in ("sweep", "n_trials", "config"):
        config.pop(own, None)
    return cli.parser.dump(config, skip_none=False, skip_validation=True)


def _facts(cli: SweepCli, plan: Plan) -> dict[str, Any]:
    """Return what all trials of a sweep have in common, ready for JSON."""
    config = _flat(plan.base)
    split = cli.datamodule.split
    sides = {"training": split.train, "validation": split.val}
    return {
        "space": plan.space,
        "objective": plan.objective,
        "direction": plan.direction,
        "pooling": plan.sweep.pooling,
        "seed": plan.sweep.seed,
        "configuration": {name: value for name, value in config.items() if name not in FREE},
        "split": plan.sides,
        "data": {name: _summary(data) for name, data in sides.items() if data is not None},
    }


def _flat(tree: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{where}.{name}".lstrip(".")
        flat |= _flat(value, path) if isinstance(value, dict) and value else {path: value}
    return flat


def _summary(data: Any) -> dict[str, float]:
    """Return numbers that change when signals or labels do, from some windows spread over the data."""
    rows = np.unique(np.linspace(0, len(data) - 1, LOOKED_AT).astype(int))
    x = torch.cat([data[[row]].x.flatten() for row in rows])
    known = x[~x.isnan()].double()
    y = getattr(data, "y", None)
    labels = 0.0 if y is None else float(np.sum(y * np.arange(1, len(y) + 1)))
    return {"windows": len(data), "mean": float(known.mean()), "spread": float(known.std()), "labels": labels}


def _sides(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return who, or which stretch of time, stands on which side."""
    return {side: manifest[side]["ids"] for side in ("train", "val", "test")}


def _try(plan: Plan, study: Study, space: Mapping[str, Any], n_trials: int) -> None:
    """Draw, train and judge one trial, and write down how it went."""
    trial = ask(study, plan.sweep.seed, space)
    settings = settings_of(plan.space, trial.params)
    began = time.perf_counter()
    try:
        value = _judge(plan, plan.trial(trial.number), settings)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on with the sweep") from None
    except OSError:
        raise  # files that are gone say nothing about the settings: the trial is tried again
    except Exception as error:
        shutil.rmtree(plan.trial(trial.number), ignore_errors=True)
        said = sentence(error)
        fail(study, trial, said)
        said = f"failed: {said}"
    else:
        succeed(study, trial, value, time.perf_counter() - began)
        best = best_of(study)
        assert best is not None
        said = f"{plan.objective} {value:.4g} (best {best.value:.4g}, trial {best.number})"
    _say(f"trial {trial.number}, {len(finished(study))} of {n_trials}: {in_words(plan, settings)}: {said}")
    write_trials(plan, study)


def _judge(plan: Plan, folder: Path, settings: Mapping[str, Any]) -> float:
    """Train with the settings and return the objective."""

    class TrialCli(Cli):
        """A fit that keeps to the sweep's split."""

        def before_fit(self) -> None:
            super().before_fit()
            if _sides(self.datamodule.split.manifest) != plan.sides:
                raise ConfigError("these settings put others on the sides of the split: trials could not be compared.")

    over = json.dumps(laid_over(plan.base, settings))
    where = ["--trainer.default_root_dir", str(folder)]
    cli = build(["fit", "--config", str(plan.config), "--config", over, *where], run=True, kind=TrialCli, quiet=True)
    encoder, device = cli.model.embedder, cli.trainer.strategy.root_device
    if plan.objective in METRICS:
        value = probe_score(encoder, cli.datamodule.split, plan.objective, plan.sweep.pooling, device)
    elif plan.objective in ERRORS_OF_SERIES:
        value = forecast_score(encoder, cli.datamodule.task, plan.objective, device)
    elif plan.objective == "val/loss" and isinstance(cli.model, CrossModalLearner):
        value = float(cli.model.best_loss)  # of the weights that were kept
    else:
        value = _logged(cli.run_folder.history.frame(), plan.objective)
    if not np.isfinite(value):
        raise ConfigError(f"the {plan.objective} is {value}.")
    return value


def _logged(history: pd.DataFrame, name: str) -> float:
    """Return the last value of what training logged."""
    if name not in history:
        logged = [str(column) for column in history if "/" in str(column)]
        raise ConfigError(f"training logs no {name!r}, only {', '.join(logged)}: choose another --sweep.objective.")
    return float(history[name].dropna().iloc[-1])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
