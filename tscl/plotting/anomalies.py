"""What was strange, what was reported, and what was labelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tscl.errors import DataError
from tscl.plotting.style import INK, PALETTE, new_axes, tidy

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def alarms_over_time(
    scores: np.ndarray,
    alarms: np.ndarray,
    labels: np.ndarray | None = None,
    times: np.ndarray | pd.DatetimeIndex | None = None,
    threshold: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw anomaly scores with the alarms on them, over the labelled segments.

    Parameters
    ----------
    scores : ndarray, shape (T,), float
        One score a time step; a gap is drawn where it is not finite.
    alarms : ndarray, shape (T,), bool
        Steps at which an alarm was raised; drawn as dots, at the upper edge where the score is not finite.
    labels : ndarray, shape (T,), bool, optional
        Steps that are anomalies; shaded.
    times : ndarray or DatetimeIndex, length T, optional
        Time of every step; its number by default.
    threshold : float, optional
        Score above which an alarm is raised; a dashed line.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        When the lengths differ, or no score is finite.
    """
    shapes = [np.shape(one) for one in (scores, alarms, labels, times) if one is not None]
    if len(set(shapes)) != 1 or len(shapes[0]) != 1:
        raise DataError(f"scores, alarms, labels and times have shapes {shapes}: give all of them one length.")
    scores, alarms = np.asarray(scores, dtype=np.float64), np.asarray(alarms, dtype=bool)
    finite = np.isfinite(scores)
    if not finite.any():
        raise DataError(f"none of the {len(scores)} scores is finite: there is nothing to draw.")
    at = np.arange(len(scores)) if times is None else np.asarray(times)
    ax = tidy(new_axes(ax, 10, 3))
    if labels is not None:
        shown = np.asarray(labels, dtype=bool)
        ax.fill_between(
            at,
            0,
            1,
            where=(shown | np.append(False, shown[:-1])).tolist(),
            step="post",
            transform=ax.get_xaxis_transform(),
            color=PALETTE[3],
            alpha=0.25,
            linewidth=0,
            label="labelled anomaly",
        )
    ax.plot(at, np.where(finite, scores, np.nan), color=PALETTE[0], linewidth=0.8, label="score")
    if threshold is not None:
        ax.axhline(threshold, color=INK, linewidth=0.9, linestyle="--", label="threshold")
    heights = np.where(finite, scores, scores[finite].max())[alarms]
    ax.plot(at[alarms], heights, "o", color=PALETTE[1], markersize=4, label="alarm")
    ax.set_ylabel("anomaly score", color=INK)
    ax.set_xlabel("step" if times is None else "time", color=INK)
    ax.margins(x=0)
    ax.legend(frameon=False, fontsize=9, labelcolor=INK, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
    return ax
