"""Classification metrics, and the vote that turns predictions of windows into one of a patient."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from tscl.data.windows import WindowDataset
from tscl.errors import DataError

logger = logging.getLogger(__name__)

METRICS = ("accuracy", "precision", "recall", "f1", "auroc", "auprc")


def check_predictions(y: np.ndarray, proba: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels as int64 and probabilities as float64, or say what is wrong with them.

    Raises
    ------
    DataError
        When shapes disagree, there is nothing to score, a label is not a class index, or a probability is not finite.
    """
    y = np.asarray(y)
    proba = np.asarray(proba, dtype=np.float64)
    if y.ndim != 1 or proba.shape != (len(y), n_classes):
        raise DataError(
            f"labels have shape {y.shape} and probabilities {proba.shape}, expected (n,) and (n, {n_classes})."
        )
    if len(y) == 0:
        raise DataError("there is no labelled window to score: check the target column of the test set.")
    if y.min() < 0 or y.max() >= n_classes:
        raise DataError(
            f"labels run from {y.min()} to {y.max()}, expected class indices 0 to {n_classes - 1}: "
            "leave unlabelled windows (-1) out first."
        )
    if not np.isfinite(proba).all():
        raise DataError(
            "predicted probabilities contain NaN or infinity: the classifier diverged, lower its learning rate or "
            "look for infinite values in its input."
        )
    return y.astype(np.int64), proba


def classification_metrics(y: np.ndarray, proba: np.ndarray, n_classes: int) -> dict[str, float]:
    """Score predicted probabilities against labels.

    Parameters
    ----------
    y : ndarray, shape (n,), int
        Class indices.
    proba : ndarray, shape (n, n_classes), float
        Predicted probabilities; the class with the highest one is the prediction.
    n_classes : int
        Number of classes the classifier knows.

    Returns
    -------
    dict of str to float
        ``accuracy``; macro ``precision``, ``recall`` and ``f1`` over the classes that occur in ``y`` or among the
        predictions (0 where the denominator is 0); ``auroc`` and ``auprc`` (average precision), macro one-versus-rest
        over the classes that occur in ``y``. With two classes ``auroc`` is that of the positive class. ``auroc`` and
        ``auprc`` are NaN, with the reason logged, when ``y`` has one class only.

    Raises
    ------
    DataError
        When shapes disagree, ``y`` is empty or has a label outside the classes, or ``proba`` is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> proba = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    >>> {k: round(v, 2) for k, v in classification_metrics(np.array([0, 0, 1, 1]), proba, 2).items()}
    {'accuracy': 0.75, 'precision': 0.83, 'recall': 0.75, 'f1': 0.73, 'auroc': 1.0, 'auprc': 1.0}
    """
    from sklearn.metrics import accuracy_score, average_precision_score, precision_recall_fscore_support, roc_auc_score

    y, proba = check_predictions(y, proba, n_classes)
    predicted = proba.argmax(axis=1)
    precision, recall, f1, _ = precision_recall_fscore_support(y, predicted, average="macro", zero_division=0)
    present = np.unique(y)
    if len(present) < n_classes:
        absent = sorted(set(range(n_classes)) - set(present.tolist()))
        consequence = "are undefined" if len(present) < 2 else "are averaged over the other classes"
        logger.warning("no window of class %s among the %d scored: AUROC and AUPRC %s", absent, len(y), consequence)
    if len(present) < 2:
        auroc = auprc = float("nan")
    else:
        auroc = float(np.mean([roc_auc_score(y == k, proba[:, k]) for k in present]))
        auprc = float(np.mean([average_precision_score(y == k, proba[:, k]) for k in present]))
    return {
        "accuracy": float(accuracy_score(y, predicted)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "auroc": auroc,
        "auprc": auprc,
    }


def vote(proba: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average the probabilities of the windows of each group (a patient, a recording).

    Parameters
    ----------
    proba : ndarray, shape (n, k), float
        Probabilities of windows.
    groups : ndarray, shape (n,)
        The group of each window.

    Returns
    -------
    proba : ndarray, shape (n_groups, k), float64
        Mean probability over the windows of each group.
    order : ndarray, shape (n_groups,)
        The groups, in order of first appearance.

    Raises
    ------
    DataError
        When the lengths differ.
    """
    proba = np.asarray(proba, dtype=np.float64)
    if len(proba) != len(groups):
        raise DataError(f"{len(proba)} predictions but {len(groups)} group ids: give one id a window.")
    codes, order = pd.factorize(np.asarray(groups))
    total = np.zeros((len(order), proba.shape[1]))
    np.add.at(total, codes, proba)
    return total / np.bincount(codes, minlength=len(order))[:, None], np.asarray(order)


def group_ids(data: WindowDataset, level: str) -> np.ndarray:
    """Return dense ids of the groups at ``level``, told apart by every coarser level too, shape (n,), int64.

    Parameters
    ----------
    data : WindowDataset, n windows
    level : str
        One of its levels.

    Raises
    ------
    DataError
        When the data set has no such level.
    """
    if level not in data.levels:
        raise DataError(f"the data set has no level {level!r}; it has {list(data.levels)}.")
    upto = data.levels[: data.levels.index(level) + 1]
    keys = [data.metadata[name].astype(str) for name in upto]
    return pd.MultiIndex.from_arrays(keys).factorize()[0].astype(np.int64)


def vote_level(*datasets: WindowDataset) -> str | None:
    """Find the coarsest level within whose groups the label never changes: the unit a vote is meaningful for.

    A diagnosis is constant within a patient, so windows vote for the patient; a task (rest, arithmetic) is constant
    within a recording of a patient, so they vote for the recording; beat classes change within everything.

    Parameters
    ----------
    *datasets : WindowDataset
        Usually the training and the test windows; the label must be constant in all of them. Unlabelled windows (-1)
        are ignored.

    Returns
    -------
    str or None
        None when the label changes within the groups of every level, or there are no labels.
    """
    for level in datasets[0].levels:
        if all(d.y is not None and _constant_within(d.y, group_ids(d, level)) for d in datasets):
            return level
    return None


def _constant_within(y: np.ndarray, groups: np.ndarray) -> bool:
    known = y >= 0
    labels = pd.Series(y[known]).groupby(groups[known]).nunique()
    return bool(known.any() and (labels == 1).all())
