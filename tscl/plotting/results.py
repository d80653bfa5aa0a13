"""Results of an evaluation as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tscl.errors import DataError
from tscl.plotting.style import INK, PALETTE, new_axes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHORT = ("f1", "auroc", "auprc")


def results_bars(summary: pd.DataFrame, metric: str = "f1", unit: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw one metric of every model and method, grouped by label fraction, with its interval.

    Parameters
    ----------
    summary : DataFrame
        Columns ``model``, ``method``, ``fraction``, ``unit``, ``metric``, ``mean``, ``low``, ``high``, as
        :meth:`tscl.evaluation.Results.summary` gives it.
    metric : str
        Which metric.
    unit : str, optional
        Which unit; by default the coarsest there is (the patient or recording before the window).
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        When the table has no such metric or unit.
    """
    if unit is None:
        units = [name for name in summary["unit"].unique() if name != "window"]
        unit = str(units[0]) if units else "window"
    rows = summary[(summary["metric"] == metric) & (summary["unit"] == unit)]
    if rows.empty:
        raise DataError(
            f"the results have no {metric!r} for unit {unit!r}: metrics are {sorted(summary['metric'].unique())}, "
            f"units {sorted(summary['unit'].unique())}."
        )
    rows = rows.assign(bar=[_bar_name(m, how) for m, how in zip(rows["model"], rows["method"], strict=True)])
    fractions = sorted(rows["fraction"].unique(), reverse=True)
    bars = list(rows["bar"].unique())
    width = 0.8 / len(bars)
    ax = tidy(new_axes(ax, max(5.0, 1.2 + 0.45 * len(bars) * len(fractions)), 4))
    for number, bar in enumerate(bars):
        part = rows[rows["bar"] == bar].set_index("fraction").reindex(fractions)
        x = np.arange(len(fractions)) + (number - (len(bars) - 1) / 2) * width
        height = part["mean"].to_numpy(dtype=float)
        error = np.stack([height - part["low"].to_numpy(dtype=float), part["high"].to_numpy(dtype=float) - height])
        ax.bar(x, height, width * 0.88, color=PALETTE[number % len(PALETTE)], label=bar)
        drawn = np.isfinite(error).all(axis=0)
        reach = error[:, drawn].clip(min=0)
        ax.errorbar(x[drawn], height[drawn], reach, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
    ax.set_xticks(range(len(fractions)), [f"{100 * fraction:g} % of labels" for fraction in fractions], color=INK)
    ax.set_ylabel(f"{metric.upper() if metric in SHORT else metric}, by {unit}", color=INK)
    ax.set_ylim(0, 1)
    ax.tick_params(axis="x", length=0)
    ax.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def _bar_name(model: str, method: str) -> str:
    return model if method == "direct" else f"{model}, {method}"
