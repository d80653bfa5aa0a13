"""Time stamps: parsed, checked, and brought onto a regular grid on request."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import pandas as pd

from tscl.data.series.parts import said
from tscl.data.series.rows import Rows
from tscl.errors import DataError

log = logging.getLogger(__name__)

REGULARISE = "pass regularise='nan' or 'interpolate'"
ZONE = r"(?:Z|UTC|[+-]\d{2}:?\d{2})$"
ISO = r"^\d{4}"
ISO_ORDERS: tuple[dict[str, Any], ...] = ({"format": "ISO8601"}, {})
ORDERS: tuple[dict[str, Any], ...] = ({"dayfirst": False}, {"dayfirst": True})


def parse_stamps(rows: Rows, date: str) -> pd.DatetimeIndex:
    """Return the stamps of all rows, without a time zone (UTC where they had one)."""
    column = rows.frame[date]
    if pd.api.types.is_numeric_dtype(column):
        raise DataError(
            f"{rows.source}: the date column {date!r} holds numbers such as {column.iloc[0]}: write dates such as "
            "2016-07-01 00:00:00, or name another column by date=."
        )
    if pd.api.types.is_datetime64_any_dtype(column):
        stamps = column
    else:
        text = column.astype("string").str.strip()
        iso = text.str.match(ISO).fillna(False).all()
        parsed = [_parse(text, **order) for order in (ISO_ORDERS if iso else ORDERS)]
        whole = [stamps for stamps in parsed if stamps.notna().all()]
        if not whole:
            _refuse_date(rows, date, text, max(parsed, key=lambda stamps: stamps.notna().sum()))
        stamps = max(whole, key=_regularity)
        if not iso and stamps is parsed[1] and not stamps.equals(parsed[0]):
            log.info("%s: the dates are read day first, month second.", rows.source)
    empty = np.flatnonzero(stamps.isna())
    if len(empty):
        raise DataError(f"{rows.source}: the date is missing in {rows.at(empty[0])}: fill it in, or drop the row.")
    times = pd.DatetimeIndex(stamps)
    if times.tz is not None:
        log.info("%s: stamps with a time zone are taken in UTC, calendar features as well.", rows.source)
        times = times.tz_convert("UTC").tz_localize(None)
    return times.as_unit("ns").rename(None)


def _parse(text: pd.Series, **order: Any) -> pd.Series:
    zoned = bool(text.str.contains(ZONE).fillna(False).any())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the order or the format was guessed
        return pd.to_datetime(text.astype(object), errors="coerce", utc=zoned, **order)


def _regularity(stamps: pd.Series) -> float:
    """Share of steps that have the usual length."""
    steps = np.diff(stamps.to_numpy(dtype="datetime64[ns]"))
    return float((steps == _usual(steps).to_timedelta64()).mean())


def _refuse_date(rows: Rows, date: str, text: pd.Series, best: pd.Series) -> None:
    bad = np.flatnonzero(best.isna().to_numpy())
    first = text.iloc[bad[0]]
    what = "is empty" if pd.isna(first) else f"is {first!r}, which is no date like the others"
    if len(bad) == len(best):
        what = f"is {first!r}, which is no date"
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    raise DataError(
        f"{rows.source}: the date in the column {date!r} {what}, in {rows.at(bad[0])}{more}: write all of them as "
        "2016-07-01 00:00:00, or name another column by date=."
    )


def regular_step(rows: Rows, times: pd.DatetimeIndex) -> pd.Timedelta:
    """Return the step of regular stamps; refuse stamps that are unsorted, repeated or irregular."""
    _refuse_repeated(rows, times, f"keep one row a stamp, or {REGULARISE}, which takes identical rows once")
    steps = np.diff(times.to_numpy())
    back = np.flatnonzero(steps < np.timedelta64(0))
    if len(back):
        row = int(back[0]) + 1
        raise DataError(
            f"{rows.source}: the stamps are not sorted, {times[row]} in {rows.at(row)} comes after {times[row - 1]}: "
            f"sort the rows by date, or {REGULARISE}."
        )
    step = _usual(steps)
    odd = np.flatnonzero(steps != step.to_timedelta64())
    if len(odd):
        row = int(odd[0]) + 1
        more = f" ({len(odd)} such places)" if len(odd) > 1 else ""
        gap = said(pd.Timedelta(steps[row - 1]))
        raise DataError(
            f"{rows.source}: the step is {said(step)}, but {times[row]} in {rows.at(row)} comes {gap} after "
            f"{times[row - 1]}{more}{_daylight(times[odd + 1])}: fill in the missing rows, or {REGULARISE}."
        )
    return step


def to_grid(
    rows: Rows, times: pd.DatetimeIndex, values: np.ndarray, labels: np.ndarray | None, *, interpolate: bool
) -> tuple[pd.DatetimeIndex, pd.Timedelta, np.ndarray, np.ndarray | None]:
    """Sort, take identical rows once, and insert what is missing.

    Returns
    -------
    times, step, values, labels
        All on the regular grid.
    """
    done = [] if times.is_monotonic_increasing else ["the rows were sorted"]
    order = np.argsort(times.to_numpy(), kind="stable")
    table = pd.DataFrame(values.T[order]).assign(stamp=times[order], label=0 if labels is None else labels[order])
    again = table.duplicated().to_numpy()
    if again.any():
        done.append(f"{again.sum()} identical rows were dropped")
    order = order[~again]
    times = times[order]
    kept = Rows(rows.frame, rows.numbers[order], rows.word, rows.source)
    _refuse_repeated(kept, times, "the rows differ, so keep the right one of them")
    if len(times) < 2:
        raise DataError(f"{rows.source} has one stamp only, {times[0]}: a series needs two time steps at least.")
    grid, step = _grid(kept, times)
    place = grid.get_indexer(times)
    missing = np.ones(len(grid), dtype=bool)
    missing[place] = False
    filled = np.full((len(values), len(grid)), np.nan)
    filled[:, place] = values[:, order]
    if interpolate:
        for row in filled:
            there = np.flatnonzero(~np.isnan(row))
            row[missing] = np.interp(np.flatnonzero(missing), there, row[there])
    flags = None
    if labels is not None:
        flags = np.zeros(len(grid), dtype=bool)
        flags[place] = labels[order]
    if missing.any():
        how = "on the line between their neighbours" if interpolate else "as NaN"
        spans = f"between {grid[missing][0]} and {grid[missing][-1]}"
        done.append(f"{missing.sum()} missing steps of {said(step)} were inserted {how}, {spans}")
    if done:
        log.warning("%s: %s.", rows.source, "; ".join(done))
    return grid, step, filled, flags


def _grid(rows: Rows, times: pd.DatetimeIndex) -> tuple[pd.DatetimeIndex, pd.Timedelta]:
    """Return the regular stamps that sorted, different ones stand on, and their step."""
    steps = np.diff(times.to_numpy())
    step = _usual(steps)
    shift = times.asi8 % step.value
    offsets, counts = np.unique(shift, return_counts=True)
    off = np.flatnonzero(shift != offsets[counts.argmax()])
    if len(off):
        row = int(off[0])
        raise DataError(
            f"{rows.source}: the step is {said(step)}, but {len(off)} stamps lie between the steps of the others, the "
            f"first is {times[row]} in {rows.at(row)}: bring the rows to a regular step first, such as by "
            f"frame.resample('{said(step)}').mean()."
        )
    n_steps = (times[-1] - times[0]) // step + 1
    if n_steps > 2 * len(times):
        row = int(steps.argmax()) + 1
        raise DataError(
            f"{rows.source}: {n_steps - len(times)} steps of {said(step)} are missing beside {len(times)} rows, most "
            f"of them before {times[row]} in {rows.at(row)}: correct that date, or cut the series there."
        )
    return pd.date_range(times[0], times[-1], freq=step), step


def _usual(steps: np.ndarray) -> pd.Timedelta:
    """Return the most frequent step; the shortest of those that are equally frequent."""
    lengths, counts = np.unique(steps, return_counts=True)
    return pd.Timedelta(lengths[counts.argmax()])


def _refuse_repeated(rows: Rows, times: pd.DatetimeIndex, remedy: str) -> None:
    again = np.flatnonzero(times.duplicated())
    if not len(again):
        return
    row = int(again[0])
    first = int(np.flatnonzero(times == times[row])[0])
    more = f", and {len(again) - 1} more are repeated" if len(again) > 1 else ""
    raise DataError(
        f"{rows.source}: the stamp {times[row]} stands in {rows.at(first)} and again in {rows.at(row)}{more}"
        f"{_daylight(times[again])}: {remedy}."
    )


def _daylight(times: pd.DatetimeIndex) -> str:
    """Say so where all odd stamps lie where clocks are changed: a Sunday night of spring or autumn."""
    changed = (times.weekday == 6) & (times.hour <= 4) & np.isin(times.month, [3, 4, 9, 10, 11])
    return " (a change to or from daylight saving time? write the stamps in UTC)" if changed.all() else ""
