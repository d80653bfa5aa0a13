"""Windows of a long series, from its file to the batches that Lightning trains with."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import pandas as pd

from tscl.data.leakage import check_leakage, name_some
from tscl.data.module import WindowDataModule
from tscl.data.recording import Channels
from tscl.data.series.table import missing_stretches
from tscl.data.series.task import SeriesTask, load_task
from tscl.data.splits import Split
from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError

log = logging.getLogger(__name__)


@dataclass
class SeriesSplit(Split):
    """Windows of the parts of one series: sides that share no time step.

    Attributes
    ----------
    task : SeriesTask
        The series and its parts.
    """

    task: SeriesTask = field(kw_only=True)

    def check(self) -> None:
        """Raise LeakageError when windows of two sides overlap in time."""
        sides = list(self.sides.values())
        for number, first in enumerate(sides):
            for second in sides[number + 1 :]:
                check_leakage(first, second, levels=())

    @property
    def manifest(self) -> dict[str, Any]:
        """What is on which side, ready for JSON.

        ``by`` (``"time"``), ``name``, ``source`` (the file's name), ``step``, ``window`` (steps), ``variables`` with
        the ``mean`` and ``scale`` that standardise them, ``spans``, and for ``train``, ``val`` and ``test`` the stretch
        of time (``from``, ``to``, ``steps``; as text in ``ids``) and the number of ``windows``.
        """
        task = self.task
        said: dict[str, Any] = {
            "by": self.by,
            "seed": self.seed,
            "levels": [],
            "target": None,
            "name": task.name,
            "source": Path(task.series.source).name,
            "step": str(task.series.step),
            "window": self.train.shape[2],
            "variables": list(task.series.names),
            "spans": list(task.spans),
            "mean": task.mean.tolist(),
            "scale": task.scale.tolist(),
        }
        for name, part in task.parts.by_name.items():
            side = self.sides.get(name)
            first, last = str(task.series.times[part.start]), str(task.series.times[part.stop - 1])
            said[name] = {
                "ids": [f"{first} to {last}"],
                "from": first,
                "to": last,
                "steps": part.stop - part.start,
                "windows": 0 if side is None else len(side),
                "classes": {},
            }
        return said


class SeriesDataModule(WindowDataModule):
    """Overlapping windows of the training and the validation part of one long series.

    The windows are views on the series: they take no memory of their own. Windows in which no variable has any value
    are left out. Nothing of the test part is ever in a window.

    Parameters
    ----------
    path : str
        The file; see :func:`read_series`.
    name, target, multivariate, horizons, split, covariates, spans, date, label, regularise
        See :func:`load_task`.
    window : int
        Steps of a window.
    stride : int
        Steps from the start of a window to the start of the next.
    batch_size : int
        Most windows in a batch on one process.
    num_workers : int
        Processes that read batches ahead.
    seed : int
        Of the order of the windows.

    Attributes
    ----------
    task : SeriesTask
        The series, read once.
    split : Split
        Windows of the training part and of the validation part (None where it is shorter than a window), after
        :meth:`setup`; the test side is empty.

    Examples
    --------
    >>> module = SeriesDataModule("ETTh1.csv", window=201)  # doctest: +SKIP
    >>> module.n_channels  # doctest: +SKIP
    8
    """

    def __init__(
        self,
        path: str,
        name: str | None = None,
        target: str | None = None,
        multivariate: bool = False,
        horizons: list[int] | None = None,
        split: str | None = None,
        covariates: bool = True,
        spans: list[int] | None = None,
        date: str | None = None,
        label: str | None = None,
        regularise: Literal["nan", "interpolate"] | None = None,
        window: int = 257,
        stride: int = 16,
        batch_size: int = 32,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        L.LightningDataModule.__init__(self)
        for what, value in {"window": window, "stride": stride, "batch_size": batch_size}.items():
            if value < 1:
                raise ConfigError(f"{what} is {value}: it must be 1 or more.")
        self._set_batches(batch_size, 1, 1, num_workers, seed)
        self.path = path
        self.window = window
        self.stride = stride
        self._settings: dict[str, Any] = {
            "name": name,
            "target": target,
            "multivariate": multivariate,
            "horizons": horizons,
            "split": split,
            "covariates": covariates,
            "spans": spans or (),
            "date": date,
            "label": label,
            "regularise": regularise,
        }
        self._task: SeriesTask | None = None

    def load(self, progress: bool = False) -> SeriesTask:
        """Return the series, read from its file on the first call.

        Parameters
        ----------
        progress : bool
            Has no effect: one file is read at once.

        Raises
        ------
        ConfigError, DataError, DataNotFoundError
            As :func:`load_task` says.
        """
        if self._task is None:
            self._task = load_task(self.path, **self._settings)
        return self._task

    @property
    def task(self) -> SeriesTask:
        """The series, read from its file when it is first asked for."""
        return self.load()

    @property
    def data(self) -> SeriesTask:
        """The same under the name that other data modules have."""
        return self.load()

    @property
    def n_channels(self) -> int:
        """Number of channels: variables, their differences from moving averages, calendar features."""
        return len(self.load().x)

    @property
    def n_classes(self) -> int:
        """0: windows of a series have no class."""
        return 0

    def setup(self, stage: str | None = None) -> None:
        """Read the series and cut the windows.

        Raises
        ------
        DataError
            When the training part is shorter than a window, or all its windows are empty.
        ConfigError, DataNotFoundError
            As :meth:`load` says.
        """
        if hasattr(self, "split"):
            return
        task = self.load()
        train = self._windows(task, task.parts.train, "training")
        if train is None:
            size = task.parts.sizes["train"]
            raise DataError(
                f"{task.series.source}: the training part has {size} steps, fewer than one window of {self.window}: "
                f"use a window of at most {size}, or a longer series."
            )
        if not len(train):
            raise DataError(
                f"{task.series.source}: no window of {self.window} steps in the training part holds a value: use a "
                "longer window, or fill in what is missing."
            )
        val = self._windows(task, task.parts.val, "validation")
        if val is None:
            log.warning("the validation part is shorter than a window of %d steps: nothing is validated.", self.window)
        split = SeriesSplit(train, val if val is not None and len(val) else None, train.select([]), "time", task=task)
        split.check()
        self.split = split

    def _windows(self, task: SeriesTask, part: slice, what: str) -> WindowDataset | None:
        """Return the windows of a part that hold a value; None where the part is shorter than a window."""
        x = task.x[:, part]
        if x.shape[1] < self.window:
            return None
        views = np.lib.stride_tricks.sliding_window_view(x, self.window, axis=1).transpose(1, 0, 2)
        starts = np.arange(0, len(views), self.stride)
        empty = np.isnan(x[: task.n_variables]).all(axis=0)
        known = np.concatenate([[0], np.cumsum(~empty)])
        holds = known[starts + self.window] > known[starts]
        if not holds.all():
            times = task.series.times[part]
            stretches = missing_stretches(np.where(empty, np.nan, 0.0), self.window)
            log.warning(
                "%d of %d windows of the %s part hold no value and are left out: nothing is known from %s.",
                len(starts) - holds.sum(),
                len(starts),
                what,
                name_some([f"{times[start]} to {times[stop - 1]}" for start, stop in stretches]),
            )
        rows = starts[holds]
        seconds = task.series.step.total_seconds()
        table = pd.DataFrame({"onset": (part.start + rows) * seconds, "source": task.series.source})
        channels = Channels(task.channel_names, ("misc",) * len(x), "z", 1.0 / seconds)
        return WindowDataset(views, table, channels, levels=(), rows=rows)
