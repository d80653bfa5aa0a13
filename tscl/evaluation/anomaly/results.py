"""The table of an anomaly evaluation, and how it is made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import nn

from tscl.data import SeriesTask
from tscl.errors import ConfigError, DataError
from tscl.evaluation.anomaly.streaming import BETA, LOCAL, adjusted_scores, anomaly_scores, sparse, threshold
from tscl.evaluation.anomaly.tolerance import (
    delay_tolerant_metrics,
    delay_tolerant_scores,
    point_metrics,
    segments,
)
from tscl.files import atomic_file

log = logging.getLogger(__name__)

Scorer: TypeAlias = Callable[[SeriesTask], np.ndarray]
"""From a task to scores, shape (T,), of which each depends on its step and the steps before alone."""

SHOWN = ("detected", "precision", "recall", "f1", "point_f1", "auprc", "tolerant_auprc")


@dataclass(frozen=True, eq=False)
class AnomalyResults:
    """What :func:`evaluate_anomalies` measured.

    Attributes
    ----------
    table : DataFrame
        A row a model: ``model``; ``threshold`` of the adjusted scores; ``alarms``, ``segments``, ``detected``
        (segments) and ``false_alarms`` as counts; ``precision``, ``recall`` and ``f1`` with the tolerated delay;
        ``point_precision``, ``point_recall`` and ``point_f1`` of every step above the threshold against its own label;
        ``auprc`` and ``tolerant_auprc``, average precision over all thresholds of the adjusted scores as they are and
        after :func:`delay_tolerant_scores`.
    scores : dict of str to ndarray, shape (n_steps,)
        Adjusted scores of every model in the judged part.
    alarms : dict of str to ndarray, shape (n_steps,), bool
        Alarms in the judged part.
    labels : ndarray, shape (n_steps,), bool
        Which steps of the judged part are anomalies.
    times : DatetimeIndex, length n_steps
        Time stamps of the judged part.
    delay : int
        Steps of delay that were tolerated.
    """

    table: pd.DataFrame
    scores: dict[str, np.ndarray]
    alarms: dict[str, np.ndarray]
    labels: np.ndarray
    times: pd.DatetimeIndex
    delay: int

    def to_markdown(self) -> str:
        """Return a table with one line a model; a number that is not defined is ``-``."""
        lines = ["| model | " + " | ".join(name.replace("_", " ") for name in SHOWN) + " |", "|---" * 8 + "|"]
        for row in self.table.to_dict("records"):
            found = "-" if np.isnan(row["detected"]) else f"{row['detected']:.0f} of {row['segments']:.0f}"
            cells = ["-" if np.isnan(row[name]) else f"{row[name]:.3f}" for name in SHOWN[1:]]
            lines.append("| " + " | ".join([str(row["model"]), found, *cells]) + " |")
        return "\n".join(lines)

    def to_csv(self, path: str | Path) -> Path:
        """Write the table; an older file stays when that fails."""
        with atomic_file(path) as temporary:
            self.table.to_csv(temporary, index=False)
        return Path(path)


def evaluate_anomalies(
    models: Mapping[str, nn.Module | Scorer],
    task: SeriesTask,
    *,
    part: Literal["val", "test"] = "test",
    delay: int | None = None,
    beta: float = BETA,
    window: int = LOCAL,
    context: int = 200,
    method: str = "auto",
    batch_size: int = 256,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> AnomalyResults:
    """Look for anomalies in a part of a labelled series, and compare the alarms with the labels.

    The threshold comes from the scores of the training part, whose labels are not used. A step within the tolerated
    delay after an alarm raises no other for the delay-tolerant numbers, as in the authors' evaluation; the point-wise
    ones and the average precisions know no such pause.

    Parameters
    ----------
    models : mapping of str to nn.Module or callable
        Encoders, scored by :func:`anomaly_scores`; or functions of the task that return scores, shape (T,), such as
        :func:`difference_scores`.
    task : SeriesTask
        With labels.
    part : {"val", "test"}
        Which part is judged; the validation part to choose settings on.
    delay : int, optional
        Steps after a segment's start within which an alarm must come; by default 3 where a step is an hour or more, 7
        where it is shorter (Ren et al., KDD 2019).
    beta : float
        See :func:`detect`.
    window : int
        See :func:`adjusted_scores`.
    context : int
        See :func:`anomaly_scores`.
    method : {"auto", "one_pass", "sliding"}
        See :func:`anomaly_scores`.
    batch_size : int
        Windows a batch.
    device : torch.device or str, optional
        Where to embed; the encoder's own device by default.
    progress : bool
        Show progress bars.

    Returns
    -------
    AnomalyResults
        Where the labels of the part are all the same there are scores and alarms, but the numbers that need both kinds
        are NaN; a warning says so.

    Raises
    ------
    DataError
        When the series has no labels or is not longer than the context, or scores have the wrong shape.
    ConfigError
        For an empty mapping, a part that is not known or a setting out of range.
    """
    labels = task.series.labels
    if labels is None:
        raise DataError(f"{task.series.source} has no labels: name the column that marks anomalies with label=.")
    if not models:
        raise ConfigError("there is no model to evaluate: give encoders or scorers by name.")
    if part not in ("val", "test"):
        raise ConfigError(f"part is {part!r}: choose val or test.")
    if delay is None:
        delay = 3 if task.series.step >= pd.Timedelta("1h") else 7
    judged = task.parts.by_name[part]
    stop = judged.stop
    truth = labels[judged]
    if truth.all() or not truth.any():
        log.warning(
            "%s: all %d steps of the %s part are labelled %s, so F1 and average precision are not defined.",
            task.series.source,
            len(truth),
            part,
            "anomalies" if truth.all() else "normal",
        )
    rows, all_scores, all_alarms = [], {}, {}
    for name, model in models.items():
        if isinstance(model, nn.Module):
            scores = anomaly_scores(
                model,
                task.x[:, :stop],
                context=context,
                method=method,
                n_variables=task.n_variables,
                batch_size=batch_size,
                device=device,
                progress=progress,
            )
        else:
            scores = np.asarray(model(task), dtype=np.float64)
            if scores.shape != labels.shape:
                raise DataError(f"{name} returned scores of shape {scores.shape}, expected {labels.shape}.")
        scores = adjusted_scores(scores[:stop], window)
        limit = threshold(scores, task.parts.train, beta)
        above = scores > limit
        alarms = sparse(above, delay)[judged]
        numbers = _numbers(truth, scores[judged], above[judged], alarms, delay)
        rows.append({"model": name, "threshold": limit, **numbers})
        all_scores[name], all_alarms[name] = scores[judged], alarms
    return AnomalyResults(pd.DataFrame(rows), all_scores, all_alarms, truth, task.series.times[judged], delay)


def _numbers(
    labels: np.ndarray, scores: np.ndarray, above: np.ndarray, alarms: np.ndarray, delay: int
) -> dict[str, float]:
    """Return the numbers of one model."""
    from sklearn.metrics import average_precision_score

    counts = {"alarms": float(alarms.sum()), "segments": float(len(segments(labels)[0]))}
    if labels.all() or not labels.any():
        undefined = ("detected", "false_alarms", "precision", "recall", "f1")
        more = ("point_precision", "point_recall", "point_f1", "auprc", "tolerant_auprc")
        return {**counts, **dict.fromkeys((*undefined, *more), np.nan)}
    _, ranks = np.unique(np.where(np.isnan(scores), -np.inf, scores), return_inverse=True)
    return {
        **counts,
        **delay_tolerant_metrics(labels, alarms, delay),
        **{f"point_{name}": value for name, value in point_metrics(labels, above).items()},
        "auprc": float(average_precision_score(labels, ranks)),
        "tolerant_auprc": float(average_precision_score(labels, delay_tolerant_scores(labels, ranks, delay))),
    }
