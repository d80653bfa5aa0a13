"""How far positive and negative pairs came apart in training."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pandas as pd

from tscl.errors import DataError
from tscl.plotting.style import INK, PALETTE, new_axes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDES = ("positive", "negative")
QUANTILES = ("q05", "q50", "q95")


def scored(metrics: pd.DataFrame) -> list[str]:
    """Return the names whose score distributions a table of metrics holds, in its order."""
    found = [re.fullmatch(r"score/(.+)/positive_q50", str(column)) for column in metrics.columns]
    return [match[1] for match in found if match and metrics[match[0]].notna().any()]


def score_distributions(metrics: pd.DataFrame, name: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the cosine similarity of positive and negative pairs over epochs: median, and the middle 90 % as a band.

    Parameters
    ----------
    metrics : DataFrame
        A column ``epoch`` and the columns ``score/<name>/positive_q05``, ``..._q50``, ``..._q95`` and the same of
        ``negative``, as a run's ``metrics.csv`` and an estimator's ``history_`` have them.
    name : str, optional
        What is contrasted: ``"window"`` for two views of a window, an id level such as ``"patient"``, or a paired
        modality such as ``"speech"``; the first that the table has by default.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        When the table holds no such scores.
    """
    from matplotlib.ticker import MaxNLocator

    names = scored(metrics)
    if not names or (name is not None and name not in names):
        raise DataError(f"the table of metrics has no scores of {name or 'any'} pairs; it has those of {names}.")
    name = names[0] if name is None else name
    columns = [f"score/{name}/{side}_{q}" for side in SIDES for q in QUANTILES]
    missing = [column for column in ["epoch", *columns] if column not in metrics.columns]
    if missing:
        raise DataError(f"the table of metrics has no columns {missing}.")
    table = metrics.groupby("epoch")[columns].mean()
    ax = tidy(new_axes(ax, 6, 3.8))
    for side, colour in zip(SIDES, PALETTE, strict=False):
        low, middle, high = (table[f"score/{name}/{side}_{q}"].dropna() for q in QUANTILES)
        marker = "o" if len(middle) < 3 else None
        ax.plot(middle.index, middle.to_numpy(), color=colour, linewidth=1.8, marker=marker, label=f"{side} pairs")
        if len(middle) > 1:
            ax.fill_between(low.index, low.to_numpy(), high.to_numpy(), color=colour, alpha=0.2, linewidth=0)
        else:
            ax.vlines(low.index, low.to_numpy(), high.to_numpy(), color=colour, linewidth=1.8, alpha=0.5)
    ax.set_xlabel("epoch", color=INK)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel(f"cosine similarity ({name})", color=INK)
    ax.set_ylim(None, min(1.05, ax.get_ylim()[1]))
    ax.legend(frameon=False, fontsize=9, labelcolor=INK, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return ax
