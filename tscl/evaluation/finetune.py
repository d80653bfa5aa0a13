"""Full fine-tuning: the encoder and a two-layer head are trained together on labelled windows (COMET)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError
from tscl.evaluation.supervised import ClassifierModule, NumberedWindows, RegressorModule
from tscl.evaluation.tuning import Tuner

logger = logging.getLogger(__name__)


class FineTuner(Tuner):
    """Fine-tune a copy of an encoder with a head: linear, batch normalisation, ReLU, dropout, linear.

    A randomly initialised encoder makes it a supervised model trained from scratch.

    Parameters
    ----------
    encoder : nn.Module
        Gives (B, D, T') and has ``dim``. It is copied, never changed.
    n_classes : int
        Number of classes.
    monitor : {"f1", "auroc", "accuracy", "loss"}
        What is watched on the validation patients; the lower loss wins a tie. The weights of the best epoch are kept.
        Where the validation windows have one class only, ``"auroc"`` is undefined and ``"loss"`` is used. AUROC does
        not see whether the classes' threshold has been learnt; COMET takes F1.
    class_weight : "balanced", sequence of n_classes floats, or None
        Weights of the classes in the loss.
    **options
        ``max_epochs`` (50), ``lr`` (1e-4), ``batch_size`` (128), ``hidden`` (128), ``dropout`` (0.1), ``pooling``
        ("max"), ``patience`` (10), ``freeze`` (False), ``seed`` (0), ``accelerator``, ``precision``, ``verbose``: see
        :class:`tscl.evaluation.tuning.Tuner`.

    Attributes
    ----------
    module_ : ClassifierModule
        The trained model.
    history_ : list of dict
        One entry an epoch: ``epoch``, ``train_loss`` and, with validation windows, ``val_loss`` and metrics.
    best_epoch_ : int or None
        The epoch whose weights are kept; None without validation windows, where the last ones are.
    """

    def __init__(
        self,
        encoder: nn.Module,
        n_classes: int,
        *,
        monitor: Literal["f1", "auroc", "accuracy", "loss"] = "f1",
        class_weight: Literal["balanced"] | Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        if monitor not in ("auroc", "f1", "accuracy", "loss"):
            raise ConfigError(f"monitor is {monitor!r}: choose auroc, f1, accuracy or loss.")
        super().__init__(encoder, monitor=monitor, **options)
        self.n_classes = n_classes
        self.class_weight = class_weight

    def fit(self, train: WindowDataset, val: WindowDataset | None = None) -> FineTuner:
        """Train on the labelled windows of ``train``; early stopping on those of ``val``.

        Parameters
        ----------
        train : WindowDataset
            Windows without a label are left out, with a logged count.
        val : WindowDataset, optional
            Windows of other patients, with the same classes.

        Raises
        ------
        DataError
            When no training window has a label, all have the same, a label is not below ``n_classes``, or the classes
            of ``val`` are not those of ``train``.
        """
        rows = labelled_rows(train, "training")
        y = np.asarray(train.y)[rows]
        if len(np.unique(y)) < 2:
            raise DataError(
                f"all {len(y)} labelled training windows have class {train.classes[y[0]]!r}: "
                "a classifier needs two classes."
            )
        if y.max() >= self.n_classes:
            raise DataError(f"training labels have class index {y.max()}, but n_classes is {self.n_classes}.")
        val_rows = None if val is None else self._validation_rows(train, val, y)
        monitor: str = self.monitor
        if val is not None and monitor == "auroc" and len(np.unique(_labels(val)[val_rows])) < 2:
            logger.warning("validation windows have one class only: early stopping watches the loss instead of AUROC")
            monitor = "loss"

        self.train(
            ClassifierModule,
            self.n_classes,
            (train, rows),
            None if val is None or val_rows is None else (val, val_rows),
            monitor=monitor,
            class_weight=self._weights(y),
        )
        return self

    def untrained(self) -> ClassifierModule:
        """Return a module whose head is random, for weights to be read into."""
        return self.build(ClassifierModule, self.n_classes, class_weight=None)

    def predict_proba(self, data: WindowDataset) -> np.ndarray:
        """Return class probabilities of all windows, shape (n, n_classes), float64."""
        return torch.from_numpy(self.outputs(data)).softmax(dim=1).numpy()

    def _validation_rows(self, train: WindowDataset, val: WindowDataset, y: np.ndarray) -> np.ndarray:
        if val.classes != train.classes:
            raise DataError(
                f"validation windows have classes {list(val.classes)}, training windows {list(train.classes)}: "
                "select both from one WindowDataset."
            )
        rows = labelled_rows(val, "validation")
        seen = np.isin(_labels(val)[rows], y)
        if not seen.any():
            raise DataError("no class of the validation windows occurs in training: split again, stratified by label.")
        if not seen.all():
            logger.warning("%d validation windows have a class no training window has: left out", (~seen).sum())
        return rows[seen]

    def _weights(self, y: np.ndarray) -> Tensor | None:
        if self.class_weight is None:
            return None
        if isinstance(self.class_weight, str):
            counts = np.bincount(y, minlength=self.n_classes)
            balanced = len(y) / ((counts > 0).sum() * np.maximum(counts, 1))
            return torch.tensor(np.where(counts > 0, balanced, 0), dtype=torch.float32)
        weights = torch.as_tensor(self.class_weight, dtype=torch.float32)
        if weights.shape != (self.n_classes,):
            raise ConfigError(f"class_weight has shape {tuple(weights.shape)}, expected ({self.n_classes},).")
        return weights


class RegressionFineTuner(Tuner):
    """Fine-tune a copy of an encoder with a head to predict a number, by mean squared error.

    Parameters
    ----------
    encoder : nn.Module
        Gives (B, D, T') and has ``dim``. It is copied, never changed.
    **options
        As in :class:`FineTuner`. The loss is watched on the validation patients.

    Attributes
    ----------
    module_ : RegressorModule
        The trained model; it predicts standardised numbers.
    mean_, scale_ : float
        Of the training labels.
    history_, best_epoch_
        As in :class:`FineTuner`; losses are of standardised numbers.
    """

    def __init__(self, encoder: nn.Module, **options: Any) -> None:
        super().__init__(encoder, **options)

    def fit(self, train: WindowDataset, val: WindowDataset | None = None) -> RegressionFineTuner:
        """Train on the windows of ``train`` whose target is a number; early stopping on those of ``val``.

        Parameters
        ----------
        train : WindowDataset
            At least two windows with a label; those without (NaN) are left out, with a logged count.
        val : WindowDataset, optional
            Windows of other patients.

        Raises
        ------
        DataError
            When fewer than two training windows or no validation window have a label, or a label is no finite number.
        """
        y, rows = _numbers(train, "training")
        if len(rows) < 2:
            raise DataError("one training window has a label: a regressor needs at least two.")
        self.mean_ = float(y[rows].mean())
        self.scale_ = float(y[rows].std()) or 1.0
        sides = [(train, y, rows)]
        if val is not None:
            sides.append((val, *_numbers(val, "validation")))
        parts = [
            (NumberedWindows(data, ((values - self.mean_) / self.scale_).astype(np.float32)), labelled)
            for data, values, labelled in sides
        ]
        self.train(RegressorModule, 1, parts[0], None if val is None else parts[1])
        return self

    def untrained(self) -> RegressorModule:
        """Return a module whose head is random, for weights to be read into."""
        return self.build(RegressorModule, 1)

    def predict(self, data: WindowDataset) -> np.ndarray:
        """Return the predicted number of all windows, shape (n,), float64."""
        return self.outputs(data)[:, 0] * self.scale_ + self.mean_


def _numbers(data: WindowDataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels as numbers, shape (n,), float64, and the positions of those that are there."""
    if data.target is None:
        raise DataError(f"the {name} windows have no target: choose the label column with `with_target`.")
    try:
        y = pd.to_numeric(data.metadata[data.target]).to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(f"the target column {data.target!r} holds values that are no numbers ({error}).") from error
    if np.isinf(y).any():
        raise DataError(f"the target column {data.target!r} holds infinite values: leave these windows out.")
    rows = np.flatnonzero(~np.isnan(y))
    _count_labelled(rows, data, name)
    return y, rows


def _labels(data: WindowDataset) -> np.ndarray:
    return np.full(len(data), -1) if data.y is None else data.y


def labelled_rows(data: WindowDataset, name: str) -> np.ndarray:
    """Return the positions of the labelled windows, logging how many are left out.

    Raises
    ------
    DataError
        When no window has a label.
    """
    rows = np.flatnonzero(_labels(data) >= 0)
    _count_labelled(rows, data, name)
    return rows


def _count_labelled(rows: np.ndarray, data: WindowDataset, name: str) -> None:
    if not len(rows):
        raise DataError(f"no {name} window has a label: the target column is {data.target!r}.")
    if len(rows) < len(data):
        logger.info("%d of %d %s windows have no label and are left out", len(data) - len(rows), len(data), name)
