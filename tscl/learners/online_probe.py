"""How good the embedding is while it is being learned, on patients that are held out."""

from __future__ import annotations

import logging
from typing import Any

import lightning as L
import numpy as np

from tscl.data import WindowDataset
from tscl.evaluation import LinearProbe, classification_metrics, embed

log = logging.getLogger("tscl")


class OnlineProbe(L.Callback):
    """Fit a logistic regression on training embeddings and score it on validation patients, every few epochs.

    Logs ``val/<metric>`` (accuracy, precision, recall, f1, auroc, auprc; a window each). Labels never reach the
    encoder.

    Parameters
    ----------
    every_n_epochs : int
        How often.
    max_windows : int
        At most so many labelled training windows, drawn once.
    C : float
        Inverse strength of the regularisation.
    pooling : str
        Pooling of the embeddings over time.
    """

    def __init__(self, every_n_epochs: int = 5, max_windows: int = 5000, C: float = 0.1, pooling: str = "max") -> None:
        self.every_n_epochs = every_n_epochs
        self.max_windows = max_windows
        self.C = C
        self.pooling = pooling

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Probe, when it is time."""
        last = trainer.current_epoch + 1 == trainer.max_epochs
        if (trainer.current_epoch + 1) % self.every_n_epochs and not last:
            return
        split = trainer.datamodule.split
        train, val = _labelled(split.train), _labelled(split.val)
        if train is None or val is None or len(np.unique(train.y)) < 2:
            log.warning("no labelled training and validation patients of two classes: the online probe is skipped.")
            return
        rng = np.random.default_rng(0)
        train = train.select(np.sort(rng.permutation(len(train))[: self.max_windows]))
        encoder, device = pl_module.embedder, pl_module.device
        h_train, h_val = (embed(encoder, data, pooling=self.pooling, device=device) for data in (train, val))
        probe = LinearProbe(C=self.C).fit(h_train, train.y)
        n_classes = len(train.classes)
        for name, value in classification_metrics(val.y, probe.predict_proba(h_val), n_classes).items():
            pl_module.log(f"val/{name}", float(value), prog_bar=name == "f1", sync_dist=False, rank_zero_only=True)


def _labelled(data: WindowDataset | None) -> WindowDataset | None:
    if data is None or data.y is None or not (data.y >= 0).any():
        return None
    return data.select(data.y >= 0)
