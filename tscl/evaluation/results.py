"""The table that an evaluation gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from tscl.errors import DataError
from tscl.evaluation.bootstrap import bootstrap_metrics, percentile_interval
from tscl.evaluation.metrics import METRICS
from tscl.files import atomic_file

Predictions: TypeAlias = dict[tuple[Any, ...], list[tuple[np.ndarray, np.ndarray, np.ndarray]]]
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
    predictions : dict of tuple to list
        For every (model, method, fraction, unit) a list, a seed an entry, of labels (n,), probabilities (n, n_classes)
        and patients (n,) of the test side.
    """

    table: pd.DataFrame
    intervals: pd.DataFrame
    predictions: Predictions = field(default_factory=dict)

    @classmethod
    def of(cls, table: pd.DataFrame, predictions: Predictions, n_resamples: int, level: float) -> Results:
        """Add the intervals: patients are drawn with replacement, and the metric is averaged over the seeds."""
        intervals = []
        for key, seeds in predictions.items():
            again = [bootstrap_metrics(*one, n_resamples=n_resamples) for one in seeds]
            for metric in METRICS:
                low, high = percentile_interval(np.mean([values[metric] for values in again], axis=0), level)
                intervals.append((*key, metric, low, high))
        return cls(table, pd.DataFrame(intervals, columns=[*ROW, "low", "high"]), predictions)

    @classmethod
    def join(cls, folds: Sequence[Results], n_resamples: int = 1000, level: float = 0.95) -> Results:
        """Join the results of folds that test different patients.

        The table keeps a row a fold (give each its own seed), so that mean and standard deviation are those over folds;
        the intervals come from the pooled predictions of all patients.

        Parameters
        ----------
        folds : sequence of Results
        n_resamples : int
            Bootstrap resamples.
        level : float
            Of the intervals.

        Raises
        ------
        DataError
            When a patient was tested in two folds.
        """
        pooled: Predictions = {}
        for key in folds[0].predictions:
            parts = [one for fold in folds for one in fold.predictions[key]]
            patients = [set(one[2]) for one in parts]
            if sum(map(len, patients)) != len(set().union(*patients)):
                raise DataError(
                    f"{key[0]}: a patient was tested in two folds; join folds that test different patients."
                )
            pooled[key] = [tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))]  # type: ignore[list-item]
        return cls.of(pd.concat([fold.table for fold in folds], ignore_index=True), pooled, n_resamples, level)

    @classmethod
    def side_by_side(cls, parts: Sequence[Results]) -> Results:
        """Put the results of different models or methods on the same test patients into one table."""
        return cls(
            pd.concat([part.table for part in parts], ignore_index=True),
            pd.concat([part.intervals for part in parts], ignore_index=True),
            {key: value for part in parts for key, value in part.predictions.items()},
        )

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

    def by_patient(self, classes: Sequence[Any]) -> pd.DataFrame:
        """Return what was predicted for every test patient: the vote of the patient's windows, over all seeds.

        Parameters
        ----------
        classes : sequence
            Values of the label, in the order of their class index.

        Returns
        -------
        DataFrame
            ``model``, ``method``, ``fraction``, ``patient``, ``label``, ``windows`` (their number), ``predicted`` (the
            class of highest voted probability), ``correct`` (whether it is the label), ``correct_windows`` (share of
            windows, mean over seeds), and for every class its voted probability, ``p(class)``. A patient whose windows
            have several labels has a row for each.
        """
        names = [f"p({name})" for name in classes]
        parts = []
        for (model, method, fraction, unit), seeds in self.predictions.items():
            if unit != "window":
                continue
            y, _, patients = seeds[0]
            hits = np.mean([proba.argmax(axis=1) == y for _, proba, _ in seeds], axis=0)
            table = pd.DataFrame(np.mean([proba for _, proba, _ in seeds], axis=0), columns=names)
            groups = table.assign(correct_windows=hits).groupby([patients, y])
            part = groups.mean().rename_axis(["patient", "label"]).reset_index()
            part = part.assign(windows=groups.size().to_numpy(), model=model, method=method, fraction=fraction)
            voted = part[names].to_numpy().argmax(axis=1)
            correct = voted == part["label"].to_numpy()
            label, predicted = ([classes[k] for k in codes] for codes in (part["label"], voted))
            parts.append(part.assign(label=label, predicted=predicted, correct=correct))
        first = ["model", "method", "fraction", "patient", "label", "windows", "predicted", "correct"]
        return pd.concat(parts, ignore_index=True)[[*first, "correct_windows", *names]]

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
