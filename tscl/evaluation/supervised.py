"""The trained part of fine-tuning: an encoder with a two-layer head, for classes or numbers, and its batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler

from tscl.data.windows import WindowDataset
from tscl.evaluation.embedding import encode, kept_steps
from tscl.evaluation.metrics import classification_metrics
from tscl.functional.pooling import parse_pooling, pool_time
from tscl.types import Batch


class ShuffledBatches(Sampler[list[int]]):
    """Batches of positions in a new order each epoch; a last batch of one window joins the batch before it.

    Batch normalisation needs two windows, so no batch ever has a single one.

    Parameters
    ----------
    rows : ndarray, shape (n,), int
        Positions to draw from; at least two.
    batch_size : int
        Windows a batch, at least two.
    generator : torch.Generator
        Source of the order.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, generator: torch.Generator) -> None:
        self.rows = rows
        self.generator = generator
        n_full, rest = divmod(len(rows), batch_size)
        sizes = [batch_size] * n_full + ([rest] if rest > 1 else [])
        if rest == 1:
            sizes[-1] += 1
        self.ends = np.cumsum(sizes)

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[list[int]]:
        order = self.rows[torch.randperm(len(self.rows), generator=self.generator).numpy()]
        for start, end in zip([0, *self.ends[:-1]], self.ends, strict=True):
            yield order[start:end].tolist()


class NumberedWindows(Dataset[Batch]):
    """Windows whose ``y`` is a number, not a class.

    Parameters
    ----------
    windows : WindowDataset
    y : ndarray, shape (n,), float32
        The number of every window.
    """

    def __init__(self, windows: WindowDataset, y: np.ndarray) -> None:
        self.windows, self.y = windows, y

    def __getitem__(self, index: Sequence[int]) -> Batch:
        return replace(self.windows[index], y=torch.from_numpy(self.y[index]))


class SupervisedModule(lightning.LightningModule):
    """An encoder with a two-layer head, and the training step of both. A subclass writes ``loss`` and ``scores``.

    Parameters
    ----------
    encoder : nn.Module
        Gives (B, D, T') and has ``dim``; trained in place.
    n_outputs : int
        Number of outputs.
    hidden : int
        Width of the head.
    dropout : float
        Dropout of the head.
    pooling : str
        How time steps become one embedding.
    lr : float
        Learning rate of AdamW.
    freeze : bool
        Train the head only; the encoder stays in evaluation mode.
    monitor : str
        ``"loss"`` (lower is better) or a score (higher is better) of the validation windows; the lower loss wins a
        tie.
    patience : int
        Stop after so many epochs without improvement.
    """

    def __init__(
        self,
        encoder: nn.Module,
        n_outputs: int,
        *,
        hidden: int,
        dropout: float,
        pooling: str,
        lr: float,
        freeze: bool,
        monitor: str,
        patience: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(not freeze)
        width = int(encoder.dim) * sum(segments for _, segments in parse_pooling(pooling))
        self.head = nn.Sequential(
            nn.Linear(width, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, n_outputs),
        )
        self.pooling, self.lr, self.freeze = pooling, lr, freeze
        self.monitor, self.patience = monitor, patience
        self.history: list[dict[str, float]] = []
        self.best_epoch, self.best_score = -1, (-float("inf"), -float("inf"))
        self.best_weights: dict[str, Tensor] | None = None
        self._losses: list[Tensor] = []
        self._validation: list[tuple[Tensor, Tensor]] = []

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the loss of outputs (B, n_outputs) for labels (B,)."""
        raise NotImplementedError(f"{type(self).__name__} must define loss(outputs, y).")

    def scores(self, outputs: Tensor, y: Tensor) -> dict[str, float]:
        """Return what else is noted of all validation windows, by name."""
        return {}

    def forward(self, batch: Batch) -> Tensor:
        """Return the outputs, shape (B, n_outputs)."""
        z = encode(self.encoder, batch)
        return self.head(pool_time(z, self.pooling, kept_steps(batch.x, z.shape[2])))

    def train(self, mode: bool = True) -> SupervisedModule:
        """Set the mode; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.freeze:
            self.encoder.eval()
        return self

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over everything that is trained."""
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=self.lr, fused=True)

    def training_step(self, batch: Batch) -> Tensor:
        """Loss of the batch."""
        assert batch.y is not None
        loss = self.loss(self(batch), batch.y)
        self._losses.append(loss.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        """Note the epoch's mean loss beside the validation scores, which come first."""
        loss = torch.stack(self._losses).mean().item()
        self._losses.clear()
        if self.history and self.history[-1]["epoch"] == self.current_epoch:
            self.history[-1]["train_loss"] = loss
        else:
            self.history.append({"epoch": self.current_epoch, "train_loss": loss})

    def validation_step(self, batch: Batch) -> None:
        """Collect the outputs of the validation windows."""
        assert batch.y is not None
        self._validation.append((self(batch).float(), batch.y))

    def on_validation_epoch_end(self) -> None:
        """Score the validation windows, keep the best weights, stop when nothing improves any more."""
        outputs = torch.cat([part[0] for part in self._validation])
        y = torch.cat([part[1] for part in self._validation])
        self._validation.clear()
        loss = self.loss(outputs, y).item()
        scores = {"loss": loss, **self.scores(outputs, y)}
        self.history.append({"epoch": self.current_epoch, **{f"val_{name}": v for name, v in scores.items()}})
        score = (-loss if self.monitor == "loss" else scores[self.monitor], -loss)
        if score > self.best_score:
            self.best_epoch, self.best_score = self.current_epoch, score
            self.best_weights = {name: value.detach().clone() for name, value in self.state_dict().items()}
        elif self.current_epoch - self.best_epoch >= self.patience:
            self.trainer.should_stop = True


class ClassifierModule(SupervisedModule):
    """Cross-entropy of classes.

    Parameters
    ----------
    encoder, n_outputs, **options
        As in :class:`SupervisedModule`; an output a class.
    class_weight : Tensor or None, shape (n_outputs,)
        Weight of each class in the cross-entropy.
    """

    def __init__(self, encoder: nn.Module, n_outputs: int, *, class_weight: Tensor | None, **options: Any) -> None:
        super().__init__(encoder, n_outputs, **options)
        self.register_buffer("class_weight", class_weight, persistent=False)

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the cross-entropy of logits (B, n_outputs) and class indices (B,)."""
        return F.cross_entropy(outputs, y, weight=self.class_weight)

    def scores(self, outputs: Tensor, y: Tensor) -> dict[str, float]:
        """Return the classification metrics, where one of them is watched."""
        if self.monitor == "loss":
            return {}
        return classification_metrics(y.cpu().numpy(), outputs.softmax(dim=1).cpu().numpy(), outputs.shape[1])


class RegressorModule(SupervisedModule):
    """Mean squared error of one number."""

    def loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the mean squared error of outputs (B, 1) and numbers (B,)."""
        return F.mse_loss(outputs[:, 0], y)
