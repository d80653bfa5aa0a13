"""Forecasts beside what came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tscl.errors import DataError
from tscl.plotting.style import GREY, INK, PALETTE, new_axes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def forecast_plot(
    truth: np.ndarray,
    forecasts: Mapping[str, np.ndarray],
    origin: int,
    *,
    times: pd.DatetimeIndex | None = None,
    past: int | None = None,
    ylabel: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw a variable around an origin, and what models forecast from there.

    Parameters
    ----------
    truth : ndarray, shape (T,)
        The variable; NaN leaves a gap.
    forecasts : mapping of str to ndarray, shape (horizon,)
        By the name of the model: its values from step ``origin + 1`` on.
    origin : int
        The last step that the models knew.
    times : DatetimeIndex, length T, optional
        Regular time stamps for the horizontal axis, continued where a forecast is longer than the series; steps from
        the origin by default.
    past : int, optional
        Steps before the origin that are drawn; as many as the longest forecast has by default, fewer where the series
        begins later.
    ylabel : str
        What the variable is, and its unit.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        When there is no forecast, an array has not one axis, the origin is no step of the series, or there is not one
        time stamp a step (of two at least).
    """
    from matplotlib.dates import ConciseDateFormatter

    truth = np.asarray(truth)
    values = {name: np.asarray(forecast) for name, forecast in forecasts.items()}
    if not values:
        raise DataError("there is no forecast to draw: name a model and its values.")
    for name, array in {"the series": truth, **values}.items():
        if array.ndim != 1:
            raise DataError(f"{name} has the shape {array.shape}: draw one variable at a time.")
    if not 0 <= origin < len(truth):
        raise DataError(f"the origin {origin} is no step of a series of {len(truth)}.")
    if times is not None and not len(times) == len(truth) > 1:
        raise DataError(f"{len(times)} time stamps for {len(truth)} steps: give one each, and two steps at least.")
    ahead = max(map(len, values.values()))
    first = max(0, origin - (ahead if past is None else past))
    shown = slice(first, origin + ahead + 1)
    at = np.arange(-origin, ahead + 1) if times is None else _extended(times, origin + ahead + 1)
    ax = tidy(new_axes(ax, 9, 4))
    ax.plot(at[shown][: len(truth[shown])], truth[shown], color=INK, linewidth=1.6, label="measured")
    for number, (name, forecast) in enumerate(values.items()):
        after = at[origin + 1 : origin + 1 + len(forecast)]
        ax.plot(after, forecast, color=PALETTE[number % len(PALETTE)], linewidth=1.6, label=name)
    ax.axvline(at[origin], color=GREY, linewidth=1, linestyle="--")
    if times is None:
        ax.set_xlabel("steps from the origin", color=INK)
    else:
        ax.xaxis.set_major_formatter(ConciseDateFormatter(ax.xaxis.get_major_locator()))
    ax.set_ylabel(ylabel, color=INK)
    ax.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def _extended(times: pd.DatetimeIndex, length: int) -> np.ndarray:
    return pd.date_range(times[0], periods=max(length, len(times)), freq=times[1] - times[0]).to_numpy()
