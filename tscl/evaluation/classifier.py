"""The trained part of fine-tuning: an encoder with a two-layer head, and batches it can be trained on."""

from __future__ import annotations

from collections.abc import Iterator

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Sampler

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


class ClassifierModule(lightning.LightningModule):
    """An encoder with a two-layer head, and the training step of both.

    Parameters
    ----------
    encoder : nn.Module
        Gives (B, D, T') and has ``dim``; trained in place.
    n_classes : int
        Number of outputs.
    hidden : int
        Width of the head.
    dropout : float
        Dropout of the head.
    pooling : str
        How time steps become one embedding.
    lr : float
        Learning rate of AdamW.
    class_weight : Tensor or None, shape (n_classes,)
        Weight of each class in the cross-entropy.
    freeze : bool
        Train the head only; the encoder stays in evaluation mode.
    monitor : str
        ``"loss"`` (lower is better) or a metric (higher is better) of the validation windows; the lower loss wins a
        tie.
    patience : int
        Stop after so many epochs without improvement.
    """

    def __init__(
        self,
        encoder: nn.Module,
        n_classes: int,
        *,
        hidden: int,
        dropout: float,
        pooling: str,
        lr: float,
        class_weight: Tensor | None,
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
            nn.Linear(hidden, n_classes),
        )
        self.register_buffer("class_weight", class_weight, persistent=False)
        self.n_classes, self.pooling, self.lr, self.freeze = n_classes, pooling, lr, freeze
        self.monitor, self.patience = monitor, patience
        self.history: list[dict[str, float]] = []
        self.best_epoch, self.best_score = -1, (-float("inf"), -float("inf"))
        self.best_weights: dict[str, Tensor] | None = None
        self._losses: list[Tensor] = []
        self._validation: list[tuple[Tensor, Tensor]] = []

    def forward(self, batch: Batch) -> Tensor:
        """Return logits, shape (B, n_classes)."""
        z = encode(self.encoder, batch)
        return self.head(pool_time(z, self.pooling, kept_steps(batch.x, z.shape[2])))

    def train(self, mode: bool = True) -> ClassifierModule:
        """Set the mode; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.freeze:
            self.encoder.eval()
        return self

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over everything that is trained."""
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=self.lr)

    def training_step(self, batch: Batch) -> Tensor:
        """Cross-entropy of the batch."""
        loss = F.cross_entropy(self(batch), batch.y, weight=self.class_weight)
        self._losses.append(loss.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        """Note the epoch's mean loss beside the validation metrics, which come first."""
        loss = torch.stack(self._losses).mean().item()
        self._losses.clear()
        if self.history and self.history[-1]["epoch"] == self.current_epoch:
            self.history[-1]["train_loss"] = loss
        else:
            self.history.append({"epoch": self.current_epoch, "train_loss": loss})

    def validation_step(self, batch: Batch) -> None:
        """Collect the logits of the validation windows."""
        assert batch.y is not None
        self._validation.append((self(batch).float(), batch.y))

    def on_validation_epoch_end(self) -> None:
        """Score the validation windows, keep the best weights, stop when nothing improves any more."""
        logits = torch.cat([part[0] for part in self._validation])
        y = torch.cat([part[1] for part in self._validation])
        self._validation.clear()
        loss = F.cross_entropy(logits, y, weight=self.class_weight).item()
        scores = {"loss": loss}
        if self.monitor != "loss":
            scores |= classification_metrics(y.cpu().numpy(), logits.softmax(dim=1).cpu().numpy(), self.n_classes)
        self.history.append({"epoch": self.current_epoch, **{f"val_{name}": v for name, v in scores.items()}})
        score = (-loss if self.monitor == "loss" else scores[self.monitor], -loss)
        if score > self.best_score:
            self.best_epoch, self.best_score = self.current_epoch, score
            self.best_weights = {name: value.detach().clone() for name, value in self.state_dict().items()}
        elif self.current_epoch - self.best_epoch >= self.patience:
            self.trainer.should_stop = True
