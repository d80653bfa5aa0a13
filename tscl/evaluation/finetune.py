"""Full fine-tuning: the encoder and a two-layer head are trained together on labelled windows (COMET)."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any, Literal

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError
from tscl.evaluation.classifier import ClassifierModule, ShuffledBatches
from tscl.evaluation.contexts import device_for, evaluating, private_randomness, quiet_lightning

logger = logging.getLogger(__name__)


class FineTuner:
    """Fine-tune a copy of an encoder with a head: linear, batch normalisation, ReLU, dropout, linear.

    A randomly initialised encoder makes it a supervised model trained from scratch.

    Parameters
    ----------
    encoder : nn.Module
        Gives (B, D, T') and has ``dim``. It is copied, never changed.
    n_classes : int
        Number of classes.
    max_epochs : int
        Epochs at most; COMET takes 50 with all labels and 100 with few.
    lr : float
        Learning rate of AdamW.
    batch_size : int
        Windows a batch, at least 2.
    hidden : int
        Width of the head.
    dropout : float
        Dropout of the head.
    pooling : str
        How time steps become one embedding.
    monitor : {"f1", "auroc", "accuracy", "loss"}
        What is watched on the validation patients; the lower loss wins a tie. The weights of the best epoch are kept.
        Where the validation windows have one class only, ``"auroc"`` is undefined and ``"loss"`` is used. AUROC does
        not see whether the classes' threshold has been learnt; COMET takes F1.
    patience : int
        Stop after so many epochs without improvement on the validation patients.
    freeze : bool
        Train the head only.
    class_weight : "balanced", sequence of n_classes floats, or None
        Weights of the classes in the loss.
    seed : int
        The same seed gives the same result on a CPU; the caller's random state is left alone.
    accelerator, precision
        Passed to ``lightning.Trainer``.
    verbose : bool
        Show the progress bar.

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
        max_epochs: int = 50,
        lr: float = 1e-4,
        batch_size: int = 128,
        hidden: int = 128,
        dropout: float = 0.1,
        pooling: str = "max",
        monitor: Literal["f1", "auroc", "accuracy", "loss"] = "f1",
        patience: int = 10,
        freeze: bool = False,
        class_weight: Literal["balanced"] | Sequence[float] | None = None,
        seed: int = 0,
        accelerator: str = "auto",
        precision: Any = "32-true",
        verbose: bool = False,
    ) -> None:
        if batch_size < 2:
            raise ConfigError(f"batch_size is {batch_size}: batch normalisation needs at least 2 windows a batch.")
        if monitor not in ("auroc", "f1", "accuracy", "loss"):
            raise ConfigError(f"monitor is {monitor!r}: choose auroc, f1, accuracy or loss.")
        if not hasattr(encoder, "dim"):
            raise ConfigError(f"{type(encoder).__name__} has no attribute dim: set it to its output dimension.")
        self.encoder = encoder
        self.n_classes = n_classes
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.hidden = hidden
        self.dropout = dropout
        self.pooling = pooling
        self.monitor = monitor
        self.patience = patience
        self.freeze = freeze
        self.class_weight = class_weight
        self.seed = seed
        self.accelerator = accelerator
        self.precision = precision
        self.verbose = verbose

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

        generator = torch.Generator().manual_seed(self.seed)
        train_loader = DataLoader(
            train, sampler=ShuffledBatches(rows, self.batch_size, generator), batch_size=None, generator=generator
        )
        with private_randomness(self.seed), quiet_lightning():
            self.module_ = ClassifierModule(
                copy.deepcopy(self.encoder),
                self.n_classes,
                hidden=self.hidden,
                dropout=self.dropout,
                pooling=self.pooling,
                lr=self.lr,
                class_weight=self._weights(y),
                freeze=self.freeze,
                monitor=monitor,
                patience=self.patience,
            ).train()
            trainer = lightning.Trainer(
                max_epochs=self.max_epochs,
                accelerator=self.accelerator,
                devices=1,
                precision=self.precision,
                logger=False,
                enable_checkpointing=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                enable_progress_bar=self.verbose,
                use_distributed_sampler=False,
            )
            trainer.fit(self.module_, train_loader, None if val is None else self._ordered(val, val_rows))
        if self.module_.best_weights is not None:
            self.module_.load_state_dict(self.module_.best_weights)
            self.module_.best_weights = None
        self.module_.cpu()
        self.history_ = self.module_.history
        self.best_epoch_ = None if val is None else self.module_.best_epoch
        return self

    def predict_proba(self, data: WindowDataset) -> np.ndarray:
        """Return class probabilities of all windows, shape (n, n_classes), float64."""
        device = device_for(self.accelerator)
        proba = np.empty((len(data), self.n_classes))
        with evaluating(self.module_), torch.inference_mode():
            self.module_.to(device)
            for start in range(0, len(data), self.batch_size):
                logits = self.module_(data[start : start + self.batch_size].to(device))
                proba[start : start + len(logits)] = logits.cpu().double().softmax(dim=1).numpy()
            self.module_.cpu()
        return proba

    def _ordered(self, data: WindowDataset, rows: np.ndarray | None) -> DataLoader:
        assert rows is not None
        batches = [rows[i : i + self.batch_size].tolist() for i in range(0, len(rows), self.batch_size)]
        return DataLoader(data, sampler=batches, batch_size=None, generator=torch.Generator())

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
    if not len(rows):
        raise DataError(f"no {name} window has a label: the target column is {data.target!r}.")
    if len(rows) < len(data):
        logger.info("%d of %d %s windows have no label and are left out", len(data) - len(rows), len(data), name)
    return rows
