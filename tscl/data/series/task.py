"""A series made ready for learning: standardised, with calendar features, parted in time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

from tscl.data.leakage import name_some
from tscl.data.series.features import CALENDAR, calendar_features, level_differences
from tscl.data.series.known import HOURLY, SERIES, SeriesSpec, recognise
from tscl.data.series.parts import RATIOS, Parts, parts_of
from tscl.data.series.rows import read_rows
from tscl.data.series.table import Series, missing_stretches, read_series
from tscl.errors import ConfigError, DataError, DataNotFoundError

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SeriesTask:
    """What is learned from, and what is forecast.

    Attributes
    ----------
    x : ndarray, shape (C, T), float32
        The V variables first, standardised by mean and standard deviation of the training part; then, for each of
        ``spans``, their differences from their moving averages (:func:`level_differences`); then (with covariates) the
        seven calendar features of :data:`CALENDAR`, these two standardised as well; NaN where a value is missing.
    n_variables : int
        V: the first V rows of ``x`` are what is forecast.
    series : Series
        The variables in the file's units.
    parts : Parts
        Training, validation and test part.
    horizons : tuple of int
        In steps.
    season : int
        Steps of a day, at least 1.
    mean, scale : ndarray, shape (V,), float64
        ``x[:V] * scale + mean`` is in the file's units.
    name : str
        Of the data set.
    spans : tuple of int
        In steps.
    """

    skipped: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Nothing is left out; see :class:`~tscl.data.WindowDataset`."""

    x: np.ndarray
    n_variables: int
    series: Series
    parts: Parts
    horizons: tuple[int, ...]
    season: int
    mean: np.ndarray
    scale: np.ndarray
    name: str
    spans: tuple[int, ...] = ()

    def __repr__(self) -> str:
        sizes = " / ".join(str(size) for size in self.parts.sizes.values())
        return f"SeriesTask({self.name}: {self.series!r}; {sizes} steps to train, validate, test)"

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the C rows of ``x``: ``name``, ``name - mean of 24``, ``calendar/hour`` and so on."""
        names = self.series.names
        differences = [f"{name} - mean of {span}" for span in self.spans for name in names]
        calendar = [f"calendar/{name}" for name in CALENDAR[: len(self.x) - len(names) - len(differences)]]
        return *names, *differences, *calendar


def load_task(
    path: str | Path | pd.DataFrame,
    *,
    name: str | None = None,
    target: str | None = None,
    multivariate: bool = False,
    horizons: Sequence[int] | None = None,
    split: str | None = None,
    covariates: bool = True,
    spans: Sequence[int] = (),
    date: str | None = None,
    label: str | None = None,
    regularise: Literal["nan", "interpolate"] | None = None,
) -> SeriesTask:
    """Read a series and make the task of it that the literature makes (TS2Vec, CoST, AutoTCL).

    Parameters
    ----------
    path : str, Path or DataFrame
        See :func:`read_series`.
    name : str, optional
        One of :data:`SERIES`, whose target, parts and horizons are taken; recognised by the file's name by default.
    target : str, optional
        The only variable (the univariate task); that of the named series by default.
    multivariate : bool
        Take every column but date and label as variables.
    horizons : sequence of int, optional
        How many steps ahead; those of the named series, else 24, 48, 168, 336 and 720 as far as they fit.
    split : str, optional
        See :func:`parts_of`; that of the named series, else 60, 20 and 20 %.
    covariates : bool
        Add the calendar features.
    spans : sequence of int
        Add the variables' differences from their moving averages over so many steps, see :func:`level_differences`.
        The literature does not.
    date : str, optional
        The date column, ``"date"`` by default.
    label : str, optional
        See :func:`read_series`.
    regularise : {"nan", "interpolate"} or None
        See :func:`read_series`.

    Returns
    -------
    SeriesTask

    Raises
    ------
    ConfigError
        For a name or scheme that is not known, or a target together with ``multivariate``.
    DataNotFoundError, DataError
        As :func:`read_series`; when the series is shorter than its parts need, a horizon does not fit into a part, or
        a variable is empty or constant in the training part.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> times = pd.date_range("2020-01-01", periods=500, freq="1h")
    >>> frame = pd.DataFrame({"load": np.sin(np.arange(500) / 24)}, index=times)
    >>> task = load_task(frame, target="load", horizons=[24])
    >>> task.x.shape, task.parts.sizes
    ((8, 500), {'train': 300, 'val': 100, 'test': 100})
    """
    spec = _spec(path, name)
    if target is not None and multivariate:
        raise ConfigError(f"target={target!r} names one variable, multivariate takes all of them: choose one of both.")
    if target is None and not multivariate and spec is not None:
        target = spec.target
    date = "date" if date is None else date
    if target is None and not multivariate:
        rows = read_rows(path, date)
        there = [column for column in rows.frame.columns if column not in (date, label)]
        raise ConfigError(
            f"what is to be forecast in {rows.source}: name a column by target=, or pass multivariate=True for all "
            f"of {name_some(there)}."
        )
    columns = None if multivariate else [str(target)]
    try:
        series = read_series(path, columns=columns, date=date, label=label, regularise=regularise)
    except DataNotFoundError as error:
        if spec is None:
            raise
        raise DataNotFoundError(f"{path} does not exist: check the path, or fetch it from {spec.page}.") from error
    scheme = split or (spec.split if spec else RATIOS)
    try:
        parts = parts_of(len(series), series.step, scheme)
    except DataError as error:
        raise DataError(f"{series.source}: {error}") from error
    x, mean, scale = _standardised(series, parts, covariates, spans)
    wanted = horizons if horizons is not None else spec.horizons if spec else None
    return SeriesTask(
        x=x,
        n_variables=len(series.names),
        series=series,
        parts=parts,
        horizons=_horizons(wanted, parts, series),
        season=max(1, round(pd.Timedelta("1D") / series.step)),
        mean=mean,
        scale=scale,
        name=spec.name if spec else "series" if isinstance(path, pd.DataFrame) else Path(path).stem,
        spans=tuple(spans),
    )


def _spec(path: str | Path | pd.DataFrame, name: str | None) -> SeriesSpec | None:
    if name is None:
        return None if isinstance(path, pd.DataFrame) else recognise(path)
    if name.lower() not in SERIES:
        raise ConfigError(f"there is no series {name!r} known: use one of {', '.join(SERIES)}, or leave the name out.")
    return SERIES[name.lower()]


def _horizons(wanted: Sequence[int] | None, parts: Parts, series: Series) -> tuple[int, ...]:
    """Return the horizons; each must leave a step to forecast from in every part."""
    longest = min(parts.sizes.values()) - 1
    if wanted is None:
        fitting = tuple(one for one in HOURLY if one <= longest)
        if not fitting:
            raise DataError(
                f"{series.source}: its parts of {_sizes(parts)} steps are too short for a horizon of {HOURLY[0]}: name "
                f"horizons of at most {longest} steps."
            )
        if fitting != HOURLY:
            left_out = ", ".join(str(one) for one in HOURLY if one > longest)
            log.warning("%s: the horizons %s do not fit into the parts and are left out.", series.source, left_out)
        return fitting
    chosen = tuple(dict.fromkeys(wanted)) if isinstance(wanted, Sequence) else ()
    if not chosen or not all(isinstance(one, (int, np.integer)) and one >= 1 for one in chosen):
        raise ConfigError(f"horizons={wanted!r} are no numbers of steps: give a list such as [24, 48], each 1 or more.")
    chosen = tuple(int(one) for one in chosen)
    if max(chosen) > longest:
        raise DataError(
            f"{series.source}: the horizon of {max(chosen)} steps reaches beyond a part, they have {_sizes(parts)} "
            f"steps (training / validation / test): name horizons of at most {longest}, or larger parts."
        )
    return chosen


def _sizes(parts: Parts) -> str:
    return " / ".join(str(size) for size in parts.sizes.values())


def _standardised(
    series: Series, parts: Parts, covariates: bool, spans: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``x``, and mean and scale of the variables."""
    train = series.values[:, parts.train]
    span = f"the training part ({series.times[0]} to {series.times[parts.train.stop - 1]})"
    remedy = "leave it out, or change the parts by split="
    for name, values in zip(series.names, train, strict=True):
        there = values[~np.isnan(values)]
        if not len(there):
            raise DataError(f"{series.source}: the column {name!r} holds no value in {span}: {remedy}.")
        if np.ptp(there) <= 1e-12 * np.abs(there).max():
            raise DataError(
                f"{series.source}: the column {name!r} is {there[0]:g} all through {span} and cannot be standardised: "
                f"{remedy}."
            )
    _say_missing(series)
    mean, scale = np.nanmean(train, axis=1), np.nanstd(train, axis=1)
    x = (series.values - mean[:, None]) / scale[:, None]
    differences = level_differences(x, spans)
    calendar = calendar_features(series.times)[: len(CALENDAR) if covariates else 0]
    further = np.concatenate([differences, calendar])
    known = further[:, parts.train]
    spread = np.nanstd(known, axis=1, keepdims=True)
    further = (further - np.nanmean(known, axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
    x = np.concatenate([x, further])
    return np.ascontiguousarray(x, dtype=np.float32), mean, scale


def _say_missing(series: Series) -> None:
    missing = np.isnan(series.values).mean(axis=1)
    if not missing.any():
        return
    worst = int(missing.argmax())
    start, stop = max(missing_stretches(series.values[worst]), key=lambda one: one[1] - one[0])
    log.warning(
        "%s: %d of %d variables miss values, %r most of all: %.2g %%, the longest stretch of %d steps from %s to %s.",
        series.source,
        (missing > 0).sum(),
        len(missing),
        series.names[worst],
        100 * missing[worst],
        stop - start,
        series.times[start],
        series.times[stop - 1],
    )
