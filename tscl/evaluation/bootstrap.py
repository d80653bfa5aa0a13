"""Intervals for metrics by resampling patients: the windows of a patient are no independent observations."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tscl.errors import ConfigError, DataError
from tscl.evaluation.metrics import METRICS, check_predictions

logger = logging.getLogger(__name__)

CELLS = 2_000_000


def bootstrap_metrics(
    y: np.ndarray, proba: np.ndarray, groups: np.ndarray, *, n_resamples: int = 1000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Compute every classification metric on resamples of the patients, drawn with replacement.

    A resample is a number of copies for each patient, so the metrics are computed from weights: the confusion matrix
    from sums over patients, the ranking metrics from one sort of the scores and cumulative weights.

    Parameters
    ----------
    y : ndarray, shape (n,), int
        Class indices.
    proba : ndarray, shape (n, n_classes), float
        Predicted probabilities.
    groups : ndarray, shape (n,)
        The patient of each window.
    n_resamples : int
        How many resamples; each holds as many patients as there are.
    seed : int
        The same seed and the same number of patients give the same resamples.

    Returns
    -------
    dict of str to ndarray, shape (n_resamples,), float64
        The metrics of :func:`tscl.evaluation.classification_metrics`; ``auroc`` and ``auprc`` are NaN for resamples
        with one class only, and all are NaN, with a logged warning, when there is one patient only.

    Raises
    ------
    DataError
        When shapes disagree or labels or probabilities cannot be scored.
    """
    y, proba = check_predictions(y, proba, np.shape(proba)[-1])
    if len(groups) != len(y):
        raise DataError(f"{len(y)} predictions but {len(groups)} patient ids: give one id a window.")
    codes, patients = pd.factorize(np.asarray(groups))
    n_patients, n_classes = len(patients), proba.shape[1]
    if n_patients < 2:
        logger.warning("one patient only: an interval over patients is undefined")
        return {name: np.full(n_resamples, np.nan) for name in METRICS}
    rng = np.random.default_rng(seed)
    copies = rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=n_resamples).astype(np.float64)

    confusion = np.zeros((n_patients, n_classes, n_classes))
    np.add.at(confusion, (codes, y, proba.argmax(axis=1)), 1)
    result = _threshold_metrics(np.tensordot(copies, confusion, axes=1))

    chunk = max(1, CELLS // len(y))
    parts = [copies[start : start + chunk] for start in range(0, n_resamples, chunk)]
    ranked = [_ranking_metrics(y, proba, part, codes) for part in parts]
    result["auroc"] = np.concatenate([auroc for auroc, _ in ranked])
    result["auprc"] = np.concatenate([auprc for _, auprc in ranked])
    return result


def bootstrap_interval(
    y: np.ndarray,
    proba: np.ndarray,
    groups: np.ndarray,
    *,
    metrics: Sequence[str] = METRICS,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Percentile interval of each metric over resamples of the patients (Efron and Tibshirani 1993, chapter 13).

    Parameters
    ----------
    y, proba, groups, n_resamples, seed
        See :func:`bootstrap_metrics`.
    metrics : sequence of str
        Which metrics to return.
    level : float
        Coverage, between 0 and 1.

    Returns
    -------
    dict of str to (float, float)
        Lower and upper end; NaN where the metric is undefined in every resample or there is one patient only.

    Raises
    ------
    ConfigError
        For an unknown metric or a level outside (0, 1).
    DataError
        See :func:`bootstrap_metrics`.
    """
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown:
        raise ConfigError(f"unknown metrics {unknown}: choose among {list(METRICS)}.")
    resampled = bootstrap_metrics(y, proba, groups, n_resamples=n_resamples, seed=seed)
    return {name: percentile_interval(resampled[name], level) for name in metrics}


def percentile_interval(values: np.ndarray, level: float) -> tuple[float, float]:
    """Return the central ``level`` range of ``values`` (n,), leaving NaN out; (NaN, NaN) when nothing is left.

    Raises
    ------
    ConfigError
        When ``level`` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ConfigError(f"the level of an interval is {level}, expected a number between 0 and 1 such as 0.95.")
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _threshold_metrics(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy and macro precision, recall, F1 from confusion matrices (R, true class, predicted class)."""
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    actual, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    counted = (actual + predicted) > 0

    def macro(above: np.ndarray, below: np.ndarray) -> np.ndarray:
        ratio = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
        return (ratio * counted).sum(axis=1) / counted.sum(axis=1)

    return {
        "accuracy": hits.sum(axis=1) / actual.sum(axis=1),
        "precision": macro(hits, predicted),
        "recall": macro(hits, actual),
        "f1": macro(2 * hits, actual + predicted),
    }


def _ranking_metrics(
    y: np.ndarray, proba: np.ndarray, copies: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Macro one-versus-rest AUROC and average precision for weights ``copies`` (R, n_patients), each (R,)."""
    areas, precisions = [], []
    for k in np.unique(y):
        order = np.argsort(-proba[:, k], kind="stable")
        score = proba[order, k]
        ties = np.flatnonzero(np.r_[True, score[1:] != score[:-1]])
        weight = copies[:, codes[order]]
        is_k = y[order] == k
        positive = np.add.reduceat(weight * is_k, ties, axis=1)
        negative = np.add.reduceat(weight * ~is_k, ties, axis=1)
        above_positive, above_negative = positive.cumsum(axis=1), negative.cumsum(axis=1)
        all_positive, all_negative = above_positive[:, -1], above_negative[:, -1]
        defined = (all_positive > 0) & (all_negative > 0)
        below = all_negative[:, None] - above_negative
        with np.errstate(invalid="ignore", divide="ignore"):
            area = (positive * (below + negative / 2)).sum(axis=1) / (all_positive * all_negative)
            precision = np.nan_to_num(above_positive / (above_positive + above_negative))
            average = (positive * precision).sum(axis=1) / all_positive
        areas.append(np.where(defined, area, np.nan))
        precisions.append(np.where(defined, average, np.nan))
    return _mean_of_defined(np.array(areas)), _mean_of_defined(np.array(precisions))


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis without NaN; NaN where nothing is defined."""
    defined = np.isfinite(values)
    count = defined.sum(axis=0)
    total = np.where(defined, values, 0).sum(axis=0)
    return np.divide(total, count, out=np.full(values.shape[1], np.nan), where=count > 0)
