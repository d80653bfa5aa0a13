"""The loop of fine-tuning, the same for classes and for numbers."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import lightning
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError
from tscl.evaluation.contexts import device_for, evaluating, private_randomness, quiet_lightning
from tscl.evaluation.supervised import ShuffledBatches, SupervisedModule
from tscl.types import Batch

Module = TypeVar("Module", bound=SupervisedModule)


class Tuner:
    """Train a copy of an encoder with a head: linear, batch normalisation, ReLU, dropout, linear.

    Parameters
    ----------
    encoder : nn.Module
        Gives (B, D, T') and has ``dim``. It is copied, never changed.
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
    monitor : str
        What is watched on the validation patients; the weights of the best epoch are kept.
    patience : int
        Stop after so many epochs without improvement on the validation patients.
    freeze : bool
        Train the head only.
    seed : int
        The same seed gives the same result on a CPU; the caller's random state is left alone.
    accelerator, precision
        Passed to ``lightning.Trainer``.
    verbose : bool
        Show the progress bar.

    Attributes
    ----------
    module_ : SupervisedModule
        The trained model.
    history_ : list of dict
        One entry an epoch: ``epoch``, ``train_loss`` and, with validation windows, ``val_loss`` and metrics.
    best_epoch_ : int or None
        The epoch whose weights are kept; None without validation windows, where the last ones are.
    """

    def __init__(
        self,
        encoder: nn.Module,
        *,
        max_epochs: int = 50,
        lr: float = 1e-4,
        batch_size: int = 128,
        hidden: int = 128,
        dropout: float = 0.1,
        pooling: str = "max",
        monitor: str = "loss",
        patience: int = 10,
        freeze: bool = False,
        seed: int = 0,
        accelerator: str = "auto",
        precision: Any = "32-true",
        verbose: bool = False,
    ) -> None:
        if batch_size < 2:
            raise ConfigError(f"batch_size is {batch_size}: batch normalisation needs at least 2 windows a batch.")
        if not hasattr(encoder, "dim"):
            raise ConfigError(f"{type(encoder).__name__} has no attribute dim: set it to its output dimension.")
        self.encoder = encoder
        self.max_epochs = max_epochs
        self.lr = lr
        self.batch_size = batch_size
        self.hidden = hidden
        self.dropout = dropout
        self.pooling = pooling
        self.monitor = monitor
        self.patience = patience
        self.freeze = freeze
        self.seed = seed
        self.accelerator = accelerator
        self.precision = precision
        self.verbose = verbose

    def build(self, kind: type[Module], n_outputs: int, **options: Any) -> Module:
        """Return an untrained module around a copy of the encoder."""
        settings: dict[str, Any] = {
            "hidden": self.hidden,
            "dropout": self.dropout,
            "pooling": self.pooling,
            "lr": self.lr,
            "freeze": self.freeze,
            "monitor": self.monitor,
            "patience": self.patience,
        }
        return kind(copy.deepcopy(self.encoder), n_outputs, **{**settings, **options})

    def train(
        self,
        kind: type[SupervisedModule],
        n_outputs: int,
        train: tuple[Dataset[Batch], np.ndarray],
        val: tuple[Dataset[Batch], np.ndarray] | None,
        **options: Any,
    ) -> None:
        """Fit a module, and keep its best weights.

        Parameters
        ----------
        kind : type
            A subclass of :class:`SupervisedModule`.
        n_outputs : int
        train, val : pair of Dataset and ndarray of int
            Windows, and the positions of those that have a label.
        **options
            Of the module.
        """
        generator = torch.Generator().manual_seed(self.seed)
        batches = ShuffledBatches(train[1], self.batch_size, generator)
        loader = DataLoader(train[0], sampler=batches, batch_size=None, generator=generator)
        with private_randomness(self.seed), quiet_lightning():
            module = self.build(kind, n_outputs, **options).train()
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
            trainer.fit(module, loader, None if val is None else self._ordered(*val))
        if module.best_weights is not None:
            module.load_state_dict(module.best_weights)
            module.best_weights = None
        module.trainer = None  # it holds the windows
        self.module_ = module.cpu().eval()
        self.history_ = module.history
        self.best_epoch_ = None if val is None else module.best_epoch

    def outputs(self, data: WindowDataset) -> np.ndarray:
        """Return the outputs of the trained module for all windows, shape (n, n_outputs), float64."""
        device = device_for(self.accelerator)
        parts = []
        with evaluating(self.module_), torch.inference_mode():
            self.module_.to(device)
            for start in range(0, len(data), self.batch_size):
                parts.append(self.module_(data[start : start + self.batch_size].to(device)).cpu().double().numpy())
            self.module_.cpu()
        return np.concatenate(parts)

    def _ordered(self, data: Dataset[Batch], rows: np.ndarray) -> DataLoader:
        batches = [rows[i : i + self.batch_size].tolist() for i in range(0, len(rows), self.batch_size)]
        return DataLoader(data, sampler=batches, batch_size=None, generator=torch.Generator())
