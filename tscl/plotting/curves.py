"""How training went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from tscl.errors import DataError
from tscl.plotting.style import INK, PALETTE, new_axes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def training_curves(metrics: pd.DataFrame, columns: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Draw logged metrics over epochs, one line each.

    Parameters
    ----------
    metrics : DataFrame
        A column ``epoch`` and one a metric, with gaps, as Lightning's ``CSVLogger`` writes it; several rows of an
        epoch are averaged.
    columns : sequence of str, optional
        Which metrics; by default all with "loss" in their name.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        When a column is missing or there is nothing to draw.
    """
    from matplotlib.ticker import MaxNLocator

    if columns is None:
        columns = [name for name in metrics.columns if "loss" in str(name) and not str(name).endswith("_step")]
    missing = [name for name in ["epoch", *columns] if name not in metrics.columns]
    if missing:
        raise DataError(f"the table of metrics has no columns {missing}; it has {list(metrics.columns)}.")
    table = metrics.groupby("epoch")[list(columns)].mean().dropna(axis=1, how="all")
    if table.empty:
        raise DataError("the table of metrics has no loss to draw: name the columns.")
    ax = tidy(new_axes(ax, 7, 4))
    for number, name in enumerate(table.columns):
        line = table[name].dropna()
        marker = "o" if len(line) < 3 else None
        colour = PALETTE[number % len(PALETTE)]
        ax.plot(line.index, line.to_numpy(), color=colour, linewidth=1.8, label=name, marker=marker)
    ax.set_xlabel("epoch", color=INK)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(table.columns) > 1:
        ax.legend(frameon=False, fontsize=9, labelcolor=INK)
    else:
        ax.set_ylabel(str(table.columns[0]), color=INK)
    return ax
