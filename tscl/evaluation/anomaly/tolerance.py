"""Judging alarms where a short delay does no harm (Ren et al., KDD 2019, section 4.1)."""

from __future__ import annotations

import numpy as np

from tscl.errors import ConfigError, DataError


def delay_tolerant_scores(labels: np.ndarray, values: np.ndarray, delay: int) -> np.ndarray:
    """Give every step of an anomalous segment the highest value of the segment's first ``delay + 1`` steps.

    Any threshold on the result then finds a whole segment or nothing of it: with alarms as values this is the
    adjustment behind :func:`delay_tolerant_metrics`, with scores that of precision and recall over all thresholds.

    Parameters
    ----------
    labels : ndarray, shape (T,), bool
        True where a step is an anomaly; neighbours make a segment.
    values : ndarray, shape (T,), bool or float
        Alarms, or scores without NaN.
    delay : int
        Steps after its first one within which a segment must be found, k.

    Returns
    -------
    ndarray, shape (T,), dtype of ``values``
        Steps outside of segments keep their value.

    Raises
    ------
    DataError
        When the shapes differ, or a score is NaN.
    ConfigError
        For a negative delay.
    """
    labels, values = np.asarray(labels, dtype=bool), np.asarray(values)
    if labels.ndim != 1 or labels.shape != values.shape:
        raise DataError(f"labels have shape {labels.shape} and alarms {values.shape}: give two of shape (times,).")
    if delay < 0:
        raise ConfigError(f"delay is {delay}: give a number of steps, 0 or more.")
    if np.isnan(values).any():
        raise DataError(f"{np.isnan(values).sum()} scores are NaN: give those steps a value below all others.")
    starts, stops = segments(labels)
    if not len(starts):
        return values.copy()
    ends = np.minimum(starts + delay + 1, stops)
    padded = np.append(values, values[-1:])
    peaks = np.maximum.reduceat(padded, np.stack([starts, ends], axis=1).ravel())[::2]
    tolerant = values.copy()
    tolerant[labels] = np.repeat(peaks, stops - starts)
    return tolerant


def delay_tolerant_metrics(labels: np.ndarray, alarms: np.ndarray, delay: int) -> dict[str, float]:
    """Precision, recall and F1 of alarms of which one must come within ``delay`` steps of a segment's start.

    A segment with an alarm among its first ``delay + 1`` steps counts as found with all its steps, any other as missed
    with all its steps, whatever comes later; outside of segments every alarm is a false one (Ren et al., KDD 2019; k is
    7 for data by the minute and 3 for hourly data there and in TS2Vec).

    Parameters
    ----------
    labels : ndarray, shape (T,), bool
        True where a step is an anomaly.
    alarms : ndarray, shape (T,), bool
        Of :func:`detect`.
    delay : int
        k, in steps; 0 asks for an alarm at the first step.

    Returns
    -------
    dict of str to float
        ``precision``, ``recall`` and ``f1`` over steps (0 where there is no true alarm), ``segments``, ``detected``
        (segments) and ``false_alarms`` (steps).

    Raises
    ------
    DataError
        When the labels are all the same, as the F1 is not defined then, or the shapes differ.
    ConfigError
        For a negative delay.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([0, 1, 1, 1, 0, 0, 1, 1, 1, 0], dtype=bool)
    >>> alarms = np.array([0, 0, 1, 0, 0, 1, 0, 0, 1, 0], dtype=bool)
    >>> delay_tolerant_metrics(labels, alarms, delay=1)["f1"]
    0.6
    """
    labels, alarms = np.asarray(labels, dtype=bool), np.asarray(alarms, dtype=bool)
    if labels.all() or not labels.any():
        raise DataError(
            f"all {labels.size} labels are {'anomalies' if labels.size and labels.all() else 'normal'}: the F1 needs "
            "steps of both kinds."
        )
    found = delay_tolerant_scores(labels, alarms, delay)
    starts, _ = segments(labels)
    counts = {
        "segments": float(len(starts)),
        "detected": float(found[starts].sum()),
        "false_alarms": float((found & ~labels).sum()),
    }
    return {**point_metrics(labels, found), **counts}


def point_metrics(labels: np.ndarray, alarms: np.ndarray) -> dict[str, float]:
    """Return ``precision``, ``recall`` and ``f1`` of single steps; 0 where there is no true alarm."""
    true = float((labels & alarms).sum())
    return {
        "precision": true / max(float(alarms.sum()), 1.0),
        "recall": true / max(float(labels.sum()), 1.0),
        "f1": 2 * true / max(float(alarms.sum() + labels.sum()), 1.0),
    }


def segments(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return first steps and ends (excluded) of the runs of True, each of shape (n_segments,)."""
    edges = np.diff(np.concatenate([[0], labels.astype(np.int8), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
