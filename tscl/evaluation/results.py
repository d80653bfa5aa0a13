"""The table that an evaluation gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tscl.data.files import atomic_file

ROW = ["model", "method", "fraction", "unit", "metric"]


@dataclass
class Results:
    """What :func:`evaluate` measured.

    Attributes
    ----------
    table : DataFrame
        One row a number: ``model``, ``method``, ``fraction``, ``seed``, ``unit`` (``"window"`` or the level that
        windows vote for), ``metric``, ``value``.
    intervals : DataFrame
        ``model``, ``method``, ``fraction``, ``unit``, ``metric``, ``low``, ``high``: bootstrap interval over test
        patients of the mean over seeds.
    """

    table: pd.DataFrame
    intervals: pd.DataFrame

    def summary(self) -> pd.DataFrame:
        """Return mean and standard deviation over seeds with the interval over patients.

        Returns
        -------
        DataFrame
            ``model``, ``method``, ``fraction``, ``unit``, ``metric``, ``mean``, ``sd`` (NaN with one seed), ``seeds``,
            ``low``, ``high``; in the order of the table.
        """
        groups = self.table.groupby(ROW, sort=False)["value"]
        frame = groups.agg(mean="mean", sd="std", seeds="count").reset_index()
        return frame.merge(self.intervals, on=ROW, how="left")

    def to_markdown(self, metrics: Sequence[str] = ("accuracy", "f1", "auroc", "auprc")) -> str:
        """Return a table with one line a model, method, label fraction and unit: mean ± sd [low, high]."""
        lines = [
            "| " + " | ".join(["model", "method", "labels", "unit", *metrics]) + " |",
            "|" + "---|" * (4 + len(metrics)),
        ]
        summary = self.summary()
        numbers = summary[["mean", "sd", "low", "high"]].to_numpy(dtype=float)
        labels = [f"{100 * fraction:g} %" for fraction in summary["fraction"]]
        cells = summary.assign(cell=[_cell(*row) for row in numbers], labels=labels)
        for keys, rows in cells.groupby(["model", "method", "labels", "unit"], sort=False):
            found = dict(zip(rows["metric"], rows["cell"], strict=True))
            line = [*map(str, tuple(keys)), *(found.get(name, "-") for name in metrics)]
            lines.append("| " + " | ".join(line) + " |")
        return "\n".join(lines)

    def to_csv(self, path: str | Path) -> Path:
        """Write the tidy table; an older file stays when that fails."""
        with atomic_file(path) as temporary:
            self.table.to_csv(temporary, index=False)
        return Path(path)


def _cell(mean: float, sd: float, low: float, high: float) -> str:
    if np.isnan(mean):
        return "-"
    spread = "" if np.isnan(sd) else f" ± {sd:.3f}"
    interval = "" if np.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    return f"{mean:.3f}{spread}{interval}"
