"""The learner that matches one modality with others: brain signals with speech."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from tscl.encoders.base import encode_compiled
from tscl.errors import ConfigError
from tscl.functional import match_logits
from tscl.learners.compiling import prepare_compiling
from tscl.learners.joining import joined_batch, load_logged, save_logged
from tscl.learners.optimizers import adamw
from tscl.learners.scores import ScoreLog
from tscl.learners.seeding import seed_step
from tscl.losses import ClipLoss
from tscl.types import Batch, View

CrossModalFactory = Callable[[int, int, int], nn.Module]


class CrossModalLearner(L.LightningModule):
    """Encode windows so that they match what the batch pairs them with (Defossez et al. 2023: M/EEG and speech).

    The loss is summed over the paired modalities. The weights with the lowest validation loss are kept and are those
    that embed; without validation windows it is the last ones.

    Parameters
    ----------
    encoder : nn.Module or callable
        The encoder of ``batch.x``, or what builds it from the number of channels, of features and of subjects (in a
        configuration file: the class with all arguments but these three).
    loss : nn.Module, optional
        Called with the encoded windows, what goes with them, and the ids of the stretches; ``ClipLoss()`` by default.
    paired : mapping of str to nn.Module, optional
        Encoder of every paired modality, by its name in ``batch.paired``; by default ``speech`` is taken as it is.
    lr : float
        Learning rate of Adam.
    weight_decay : float
        Weight decay (AdamW).
    seed : int
        Seeds weights, dropout and order; see :class:`~tscl.learners.ContrastiveLearner`.
    across_processes : {"gather", "ring"}
        While several processes train: how the loss sees the windows of the others. "gather" joins all embeddings on
        every process; in a "ring" each keeps its own and those of the others go round, which takes the memory of a
        process's own windows (``ClipLoss``, ``SigLipLoss``).
    compile : bool
        Train the encoder through ``torch.compile``; the model that is saved is the same. Needs a C++ compiler on a CPU.

    Raises
    ------
    ConfigError
        When no modality is paired, or the loss does not have the ring that is asked for.
    """

    def __init__(
        self,
        encoder: nn.Module | CrossModalFactory,
        loss: nn.Module | None = None,
        paired: Mapping[str, nn.Module] | None = None,
        lr: float = 3e-4,
        weight_decay: float = 0.0,
        seed: int = 0,
        across_processes: Literal["gather", "ring"] = "gather",
        compile: bool = False,
    ) -> None:
        super().__init__()
        paired = {"speech": nn.Identity()} if paired is None else paired
        if not paired:
            raise ConfigError("no modality is paired with the signals: name at least one.")
        self._factory = None if isinstance(encoder, nn.Module) else encoder
        self.encoder: nn.Module | None = encoder.train() if isinstance(encoder, nn.Module) else None
        self.best = None if self.encoder is None else _frozen_copy(self.encoder)
        self.register_buffer("best_loss", torch.tensor(torch.inf))
        self.loss = ClipLoss() if loss is None else loss
        if across_processes == "ring" and not getattr(self.loss, "takes_ring", False):
            raise ConfigError(f"across_processes is ring, but {type(self.loss).__name__} has none: leave it at gather.")
        self.across_processes = across_processes
        self.paired = nn.ModuleDict(paired)
        self.mean = MeanMetric(nan_strategy="disable")
        self.mean.persistent(True)
        self.scores = ScoreLog(paired)
        self.lr = lr
        self.weight_decay = weight_decay
        self.seed = seed
        self.compiled = compile
        self.learning: dict[str, Any] = {}
        self.curves = ["train/loss", "val/loss"]

    def build(self, n_channels: int, n_features: int, n_subjects: int) -> nn.Module:
        """Build the encoder where it is not there yet, and return it."""
        if self.encoder is None and self._factory is not None:
            with torch.random.fork_rng():
                torch.manual_seed(self.seed)
                self.encoder = self._factory(n_channels, n_features, n_subjects).train()
            self.best = _frozen_copy(self.encoder)
        assert self.encoder is not None
        return self.encoder

    def configure_model(self) -> None:
        """Build the encoder once the data are known (called by Lightning before the optimizer)."""
        if self.encoder is None:
            data = self.trainer.datamodule
            self.build(data.n_channels, data.n_features, data.n_subjects)

    @property
    def embedder(self) -> nn.Module:
        """The encoder with the best weights so far; the current ones where nothing was validated."""
        if self.encoder is None:
            raise ConfigError("the encoder is not built yet: call build or fit first.")
        return self.best if self.best is not None and torch.isfinite(self.best_loss) else self.encoder

    @property
    def card(self) -> list[str]:
        """What the model card says of the learner."""
        return [f"- **Loss**: {self.loss} against {', '.join(self.paired)}, lr {self.lr:g}"]

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, tuple[Tensor, Tensor]]]:
        """Return the loss, and what was compared by modality.

        While several processes train, the candidates are those of all processes.

        Raises
        ------
        ConfigError
            When the batch lacks a modality.
        """
        assert self.encoder is not None
        missing = [name for name in self.paired if name not in batch.paired]
        if missing:
            raise ConfigError(f"the data have no {missing[0]!r} beside the signals, only {sorted(batch.paired)}.")
        if self.compiled:
            z = encode_compiled(self.encoder, View(batch.x), batch.sensors)
        else:
            z = self.encoder(batch.x, sensors=batch.sensors)
        compared = {name: (z, encode(batch.paired[name])) for name, encode in self.paired.items()}
        ids = batch.levels.get("segment")
        pairs = list(compared.values())
        everywhere = joined_batch(self, z)
        if everywhere is not None and self.across_processes == "ring":
            parts = [everywhere.weighted(self.loss(*pair, ids=ids, ring=everywhere)) for pair in pairs]
            return torch.stack(parts).sum(), compared
        if everywhere is not None:
            pairs = [(everywhere.tensor(one), everywhere.tensor(other)) for one, other in pairs]
            ids = None if ids is None else everywhere.tensor(ids)
        return torch.stack([self.loss(*pair, ids=ids) for pair in pairs]).sum(), compared

    def on_fit_start(self) -> None:
        """Refuse to compile where that is not possible."""
        if self.compiled:
            prepare_compiling(self.device)

    def on_train_start(self) -> None:
        """Log scores in the first step, also of a run that is resumed within an epoch."""
        self.scores.due = True

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Fix the random numbers of the step by seed, epoch, batch and rank."""
        seed_step(self.seed, self.current_epoch, batch_idx, self.global_rank)
        if batch_idx == 0:
            self.mean.reset()
            self.scores.due = True

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss; log its mean, and how alike windows and their pairs are."""
        loss, compared = self.losses(batch)
        self.mean.update(loss.detach().expand(len(batch)))
        self.log("train/loss", self.mean, prog_bar=True, on_step=False, on_epoch=True)
        if batch_idx == 0:
            for name, (z, y) in compared.items():
                self.scores.update(name, z.flatten(1), y.flatten(1), batch.levels.get("segment"))
        self.scores.log(self)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the loss, and how often a window's own stretch is the best of its batch."""
        loss, compared = self.losses(batch)
        self.log("val/loss", loss, prog_bar=True, batch_size=len(batch), sync_dist=True)
        for z, y in compared.values():
            ids = batch.levels.get("segment", torch.arange(len(z), device=z.device))
            hits = ids[match_logits(z, y).argmax(dim=1)] == ids
            self.log("val/accuracy", hits.float().mean(), prog_bar=True, batch_size=len(batch), sync_dist=True)

    def on_validation_end(self) -> None:
        """Keep the weights when they are the best so far."""
        if self.trainer.sanity_checking:
            return
        loss = self.trainer.callback_metrics["val/loss"]
        if loss < self.best_loss:
            assert self.best is not None
            assert self.encoder is not None
            self.best_loss.fill_(loss)
            self.best.load_state_dict(self.encoder.state_dict())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the other processes have logged."""
        save_logged(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave what all processes have logged to the first one."""
        load_logged(self, checkpoint)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam with decoupled weight decay over encoders and loss."""
        parameters = [p for name, p in self.named_parameters() if not name.startswith("best.") and p.requires_grad]
        return adamw(parameters, self.lr, self.weight_decay)


def _frozen_copy(encoder: nn.Module) -> nn.Module:
    return copy.deepcopy(encoder).requires_grad_(False)
