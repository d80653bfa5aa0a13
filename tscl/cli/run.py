"""A finished run, opened again: its data, its split and its encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
import yaml
from torch import nn

from tscl.cli.fit import CONFIG, build
from tscl.data import SeriesDataModule, SeriesTask, Split, WindowDataset
from tscl.data.speech import SpeechDataModule
from tscl.encoders import load_encoder
from tscl.errors import DataNotFoundError, LeakageError
from tscl.files import atomic_file
from tscl.learners.run_folder import CARD, read_manifest, write_card

RESULTS, SUMMARY, PATIENTS = "results", "summary.csv", "patients.csv"
"""The folder within a run's that ``tscl evaluate`` writes; its tables with intervals, and by patient."""


@dataclass
class Run:
    """What a run's folder holds.

    Attributes
    ----------
    folder : Path
    manifest : dict
        Which ids, or which stretches of time, stood on which side of the split.
    data : WindowDataset or SeriesTask
        All windows, prepared anew (or taken from the cache) by the run's configuration; or the series, read anew.
    encoder : nn.Module
        The trained encoder, in eval mode, on the CPU.
    learner : nn.Module
        The learner around it.
    """

    folder: Path
    manifest: dict[str, Any]
    data: Any
    encoder: nn.Module
    learner: Any

    def split(self) -> Split:
        """Return the split that the run was trained with."""
        return Split.from_manifest(self.data, self.manifest)

    def fresh(self, seed: int) -> nn.Module:
        """Return the encoder as it was before training, with the random weights of ``seed``."""
        learner = build(["--config", str(self.folder / CONFIG)], run=False).model
        learner.seed = seed
        torch.manual_seed(seed)
        return learner.build(_n_channels(self.data))


def open_run(folder: str | Path, options: Sequence[str] = ()) -> Run:
    """Open the folder that ``tscl fit`` wrote.

    Parameters
    ----------
    folder : path
    options : sequence of str
        Further command-line settings that override the run's configuration, such as ``["--data.root", "DIR"]``.

    Raises
    ------
    DataNotFoundError
        When there is no finished run in the folder, or its recordings are not where they were.
    LeakageError
        When the test part of a series begins before the training part of the run ends, because the file has changed.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if not (folder / CONFIG).exists():
        raise DataNotFoundError(f"{folder} holds no run: {CONFIG} is missing.")
    cli = build(["--config", str(folder / CONFIG), *options], run=False)
    data = cli.datamodule.load(progress=True)
    if isinstance(data, SeriesTask):
        _check_time(data, manifest)
    encoder = load_encoder(folder, cli.model.build(_n_channels(data))).eval()
    return Run(folder, manifest, data, encoder, cli.model)


def _n_channels(data: WindowDataset | SeriesTask) -> int:
    return len(data.x) if isinstance(data, SeriesTask) else data.shape[1]


def _check_time(task: SeriesTask, manifest: dict[str, Any]) -> None:
    """Refuse a test part that the run was trained on."""
    begins, until = task.series.times[task.parts.test.start], pd.Timestamp(manifest["train"]["to"])
    if Path(task.series.source).name == manifest["source"] and begins <= until:
        raise LeakageError(
            f"{task.series.source}: its test part begins at {begins}, and the run was trained up to {until}: evaluate "
            "on the file that the run was trained on."
        )


def path_options(path: str | Path | None) -> list[str]:
    """Return the settings that move a run to another series."""
    return [] if path is None else ["--data.init_args.path", str(path)]


def append_results(folder: Path, statement: str, table: str) -> None:
    """Write ``results.md`` and put its text at the end of the model card, in the place of earlier results."""
    with atomic_file(folder / RESULTS / "results.md") as temporary:
        temporary.write_text(f"{statement}\n\n{table}\n")
    card = (folder / CARD).read_text().split("\n## Results")[0].rstrip()
    write_card(folder, f"{card}\n\n## Results\n\n{statement}\n\n{table}")
    print(f"{table}\n\n{statement}\nwritten to {folder / RESULTS}")


def kind_of(args: Sequence[str]) -> Literal["windows", "series", "anomalies", "speech"]:
    """Tell from the arguments of a command what the run that they name was trained on.

    Parameters
    ----------
    args : sequence of str
        With ``--run FOLDER`` or ``--run=FOLDER``.

    Returns
    -------
    {"windows", "series", "anomalies", "speech"}
        ``"series"`` where the data module is a :class:`~tscl.data.SeriesDataModule`, ``"anomalies"`` where it or the
        arguments also name a label column; ``"speech"`` where it is a :class:`~tscl.data.speech.SpeechDataModule`;
        ``"windows"`` otherwise, and where there is no run that can be read.
    """
    words = [word for arg in args for word in arg.split("=", 1)]
    given = dict(zip(words, [*words[1:], ""], strict=True))
    folder = given.get("--run")
    config = None if folder is None else Path(folder) / CONFIG
    if config is None or not config.is_file():
        return "windows"
    try:
        data = yaml.safe_load(config.read_text())["data"]
        module, _, name = data["class_path"].rpartition(".")
        kind = getattr(import_module(module), name)
        series = issubclass(kind, SeriesDataModule)
        label = "--label" in given or data.get("init_args", {}).get("label")
    except (yaml.YAMLError, ImportError, AttributeError, KeyError, TypeError, ValueError):
        return "windows"
    if issubclass(kind, SpeechDataModule):
        return "speech"
    return "windows" if not series else "anomalies" if label else "series"


def root_options(root: str | Path | None, run: str | Path) -> list[str]:
    """Return the settings that move a run to another folder of recordings, away from its store where it has one."""
    if root is None:
        return []
    config = Path(run) / CONFIG
    data = (yaml.safe_load(config.read_text()) if config.is_file() else {}).get("data", {})
    store = ["--data.init_args.store", "null"] if data.get("init_args", {}).get("store") else []
    return ["--data.init_args.root", str(root), *store]
