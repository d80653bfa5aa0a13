"""One learner for every method that contrasts two views: COMET, TS2Vec, SimCLR, AutoTCL and their mixtures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from tscl.augmenters import Augmenter
from tscl.encoders import encode_pair
from tscl.errors import ConfigError
from tscl.functional import alignment, effective_rank, pool_time, uniformity
from tscl.functional.eager import with_eager_parameter_gradient
from tscl.heads import Head
from tscl.learners.augmenter_training import AugmenterTraining, learning_augmenters
from tscl.learners.averaging import AveragedWeights
from tscl.learners.compiling import prepare_compiling
from tscl.learners.joining import joined_batch, load_logged, save_logged
from tscl.learners.optimizers import adamw
from tscl.learners.scores import ScoreLog
from tscl.learners.seeding import seed_step
from tscl.types import Batch, View

log = logging.getLogger("tscl")

EncoderFactory = Callable[[int], nn.Module]

DIAGNOSTICS = ("alignment", "uniformity", "effective_rank")
COLLAPSED = 0.01
"""A mask that keeps less than this share of the time steps, or all but this share, has collapsed."""


class ContrastiveLearner(L.LightningModule):
    """Encode each named pair of views once, and let every head that asks for it contrast it.

    COMET is the views ``clean`` and ``masked`` with four heads (Wang et al., NeurIPS 2023, eq. 6: the weighted sum
    of the heads' losses); TS2Vec and SimCLR are other views and heads. A view pair whose augmenter learns (AutoTCL) is
    trained in turn with the encoder: the augmenter's step, on an encoder that is held fixed, and then the encoder's, on
    views that are held fixed.

    Parameters
    ----------
    encoder : nn.Module or callable
        An encoder, or what builds one from the number of channels of the data (in a configuration file: the class with
        all arguments but ``in_channels``).
    heads : sequence of Head
        What is contrasted. Their weights multiply their losses; a head of weight 0 is not computed.
    views : mapping of str to Augmenter
        The named view pairs; each is made by applying its augmenter to both sides.
    lr : float
        Learning rate of AdamW.
    weight_decay : float
        Weight decay of AdamW.
    averaging : {"swa", "ema"} or None
        Average of the encoder's weights over all steps (COMET: equal weights, "swa") or an exponential one; it is the
        average that embeds and is saved.
    ema_decay : float
        Decay of the exponential average per step.
    seed : int
        Seeds views and dropout; together with the epoch and the batch it fixes every random number of a step, so that a
        resumed run continues exactly.
    encode_chunk_size : int, optional
        Encode so many windows at a time, and again in the backward pass (gradient caching): a batch whose activations
        do not fit into memory costs one more forward pass. Exact, but for encoders with statistics over the batch.
    across_processes : {"gather", "ring"}
        While several processes train: how heads see the windows of the others. "gather" joins all embeddings on
        every process; in a "ring" each keeps its own and those of the others go round, which takes the memory of a
        process's own windows; heads that compare windows and have no ring (``takes_ring``) gather all the same.
    compile : bool
        Train the encoder through ``torch.compile``; the model that is saved is the same. Needs a C++ compiler on a CPU.

    Raises
    ------
    ConfigError
        When a head asks for a view that is not there, nothing is left to learn from, a head compares the time steps
        of an encoder that is pooled, or no head has the ring that is asked for.
    """

    def __init__(
        self,
        encoder: nn.Module | EncoderFactory,
        heads: Sequence[Head],
        views: Mapping[str, Augmenter],
        lr: float = 1e-4,
        weight_decay: float = 0.01,
        averaging: Literal["swa", "ema"] | None = "swa",
        ema_decay: float = 0.999,
        seed: int = 0,
        encode_chunk_size: int | None = None,
        across_processes: Literal["gather", "ring"] = "gather",
        compile: bool = False,
    ) -> None:
        super().__init__()
        if encode_chunk_size is not None and encode_chunk_size < 1:
            raise ConfigError(
                f"encode_chunk_size is {encode_chunk_size}: give at least 1 window, or none for all at once."
            )
        active = [head for head in heads if head.weight > 0]
        if not active:
            raise ConfigError("no head has a weight above 0: there is nothing to learn from.")
        for head in active:
            if head.view not in views:
                raise ConfigError(f"the {head.level} head asks for the view {head.view!r}; there are {sorted(views)}.")
        if across_processes == "ring" and not any(head.takes_ring for head in active):
            raise ConfigError(
                f"across_processes is ring, but none of the heads has one ({', '.join(h.level for h in active)}): "
                "leave it at gather."
            )
        self._factory: EncoderFactory | None = None
        self.encoder: nn.Module | None = None
        self.average: AveragedWeights | None = None
        twice = [head.level for head in active]
        self.names = [h.level if twice.count(h.level) == 1 else f"{h.level}_{h.view}" for h in active]
        self.heads = nn.ModuleList(active)
        self.views = nn.ModuleDict({name: views[name] for name in dict.fromkeys(head.view for head in active)})
        self.learning = learning_augmenters(self.views)
        terms = [f"{view}/{term}" for view, one in self.learning.items() for term in (*one.terms, "kept")]
        logged = [f"train/{name}" for name in ("loss", *self.names, *terms, *DIAGNOSTICS)]
        self.means = nn.ModuleDict({name: MeanMetric(nan_strategy="disable") for name in logged})
        self.scores = ScoreLog(["window", *(name for name, head in self._id_heads())])
        for mean in self.means.values():
            mean.persistent(True)  # in the checkpoint, so that the means of an epoch survive a resume within it
        self.lr = lr
        self.weight_decay = weight_decay
        self.averaging = averaging
        self.ema_decay = ema_decay
        self.seed = seed
        self.encode_chunk_size = encode_chunk_size
        self.across_processes = across_processes
        self.compiled = compile
        self.augmenter_training: AugmenterTraining | None = None
        self._augmenter_state: Mapping[str, Any] | None = None
        self._warned = False
        if isinstance(encoder, nn.Module):
            self._install(encoder)
        else:
            self._factory = encoder

    def _named_heads(self) -> list[tuple[str, Any]]:
        return list(zip(self.names, self.heads, strict=True))

    def _id_heads(self) -> list[tuple[str, Any]]:
        return [(name, head) for name, head in self._named_heads() if head.needs_ids]

    def build(self, in_channels: int) -> nn.Module:
        """Build what depends on the number of channels and is not there yet, and return the encoder."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            if self.encoder is None and self._factory is not None:
                self._install(self._factory(in_channels))
            for augmenter in self.learning.values():
                augmenter.build(in_channels)
        # Their gradients are averaged over processes by the training of the augmenters.
        self._ddp_params_and_buffers_to_ignore = [
            f"views.{view}.{name}" for view in self.learning for name, _ in self.views[view].named_parameters()
        ]
        assert self.encoder is not None
        return self.encoder

    def _install(self, encoder: nn.Module) -> None:
        per_step: list[Any] = [head for head in self.heads if getattr(head, "per_step", False)]
        if per_step and getattr(encoder, "pooled", False):
            raise ConfigError(
                f"the {per_step[0].level} head compares time steps, and this {type(encoder).__name__} gives one "
                "embedding a window: leave the head out, or take an encoder that embeds every step."
            )
        self.encoder = encoder.train()
        if self.averaging is not None:
            decay = self.ema_decay if self.averaging == "ema" else None
            self.average = AveragedWeights(encoder, decay).requires_grad_(False)

    def configure_model(self) -> None:
        """Build the networks once the data are known (called by Lightning before the optimizer)."""
        if self.encoder is None or self.learning:
            self.build(self.trainer.datamodule.n_channels)

    @property
    def embedder(self) -> nn.Module:
        """The encoder that embeds: the averaged one where there is an average, in eval mode when the learner is."""
        module = self.encoder if self.average is None else self.average.module
        if module is None:
            raise ConfigError("the encoder is not built yet: call build(in_channels) or fit first.")
        return module

    @property
    def curves(self) -> list[str]:
        """Names of the logged values that the training curves show."""
        return ["train/loss", *(f"train/{name}" for name in self.names)]

    @property
    def card(self) -> list[str]:
        """What the model card says of the learner."""
        heads: Any = self.heads
        return [f"- **Heads**: {', '.join(f'{head.level} x {head.weight:g}' for head in heads)}"]

    def forward(self, x: Tensor) -> Tensor:
        """Embed signals (B, C, T) per time step, (B, D, T')."""
        return self.embedder(x)

    def view_pair(self, name: str, batch: Batch) -> tuple[View, View]:
        """Return the two views of a batch that the name stands for."""
        view = View(batch.x)
        return self.views[name].pair(view, view)

    def losses(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, tuple[Tensor, Tensor]]]:
        """Return the unweighted loss of every head and the embeddings of every view pair.

        While several processes train, heads that compare windows see those of all processes; the embeddings that are
        returned are this process's.

        Raises
        ------
        ConfigError
            When a head needs ids that the batch does not carry.
        """
        embedded, said = {}, {}
        for view in self.views:
            embedded[view], losses = self._view_losses(view, batch)
            said.update(losses)
        return {name: said[name] for name in self.names}, embedded

    def weighted_loss(
        self, batch: Batch, pooled: dict[str, tuple[Tensor, Tensor]] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of the heads' losses, and each of them without a gradient.

        One view pair is encoded, contrasted and taken back through the encoder after the other, so that a step holds
        the activations of one pair at a time. ``pooled``, where given, takes their embeddings, pooled over time.

        Raises
        ------
        ConfigError
            When a head needs ids that the batch does not carry.
        """
        said: dict[str, Tensor] = {}
        assert self.encoder is not None
        device = batch.x.device.type
        scaled = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
        totals = []
        for view in self.views:
            part = partial(self._weighted_view_loss, view, batch, said, pooled)
            modules: list[nn.Module] = [self.encoder, *(head for head in self.heads if head.view == view)]
            parameters = (one for module in modules for one in module.parameters())
            totals.append(part() if scaled else with_eager_parameter_gradient(part, parameters))
        return torch.stack(totals).sum(), {name: said[name] for name in self.names}

    def _weighted_view_loss(
        self, view: str, batch: Batch, said: dict[str, Tensor], pooled: dict[str, tuple[Tensor, Tensor]] | None
    ) -> Tensor:
        """Return what the heads of a view pair add to the loss; note their losses, and embeddings if asked to."""
        (z1, z2), losses = self._view_losses(view, batch)
        if pooled is not None:
            pooled[view] = pool_time(z1.detach()).float(), pool_time(z2.detach()).float()
        said.update((name, loss.detach()) for name, loss in losses.items())
        weights = {name: head.weight for name, head in self._named_heads()}
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()

    def _view_losses(self, view: str, batch: Batch) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
        """Return the embeddings of a view pair and the unweighted losses of its heads."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and view not in self.learning):
            first, second = self.view_pair(view, batch)
        if second.kept is not None:
            self.means[f"train/{view}/kept"].update(second.kept.mean())
        pair = self._encode(first, second, batch)
        score = self._scorer(pair, batch)
        return pair, {name: score(head) for name, head in self._named_heads() if head.view == view}

    def _encode(self, first: View, second: View, batch: Batch) -> tuple[Tensor, Tensor]:
        assert self.encoder is not None
        return encode_pair(self.encoder, first, second, batch.sensors, self.encode_chunk_size, self.compiled)

    def _scorer(self, pair: tuple[Tensor, Tensor], batch: Batch) -> Callable[[Any], Tensor]:
        """Return what computes a head's loss on a pair of embedded views, joined over processes where it has to be."""
        everywhere = joined_batch(self, pair[0])
        joined: tuple[Any, ...] = ()

        def score(head: Any) -> Tensor:
            nonlocal joined
            if head.needs_ids and head.level not in batch.levels:
                raise ConfigError(
                    f"the {head.level} head needs {head.level} ids, the data have {sorted(batch.levels)}: "
                    "pass them, or leave the head out."
                )
            if everywhere is None:
                return head(*pair, batch.levels)
            if head.within:
                return everywhere.weighted(head(*pair, batch.levels))
            if self.across_processes == "ring" and head.takes_ring:
                return everywhere.weighted(head(*everywhere.cut(*pair), batch.levels, ring=everywhere))
            joined = joined or (*everywhere.embeddings(*pair), everywhere.ids(batch.levels))
            return head(*joined)

        return score

    def _attempt(self, batch: Batch, name: str) -> tuple[View, View, Tensor, Tensor, Callable[[], Tensor]]:
        """Make and encode one view pair for the step of its augmenter."""
        first, second = self.view_pair(name, batch)
        pair = self._encode(first, second, batch)

        def contrast() -> Tensor:
            score = self._scorer(pair, batch)
            return torch.stack([head.weight * score(head) for head in self.heads if head.view == name]).sum()

        return first, second, *pair, contrast

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
            for mean in self.means.values():
                mean.reset()
            self.scores.due = True

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Train the augmenters that learn, then return the weighted sum of the heads' losses; log all parts."""
        if self.augmenter_training is not None:
            assert self.encoder is not None
            said = self.augmenter_training.step(self.encoder, lambda name: self._attempt(batch, name), self.global_step)
            for name, value in said.items():
                self.means[f"train/{name}"].update(value)
        pooled: dict[str, tuple[Tensor, Tensor]] | None = {} if batch_idx == 0 else None
        total, losses = self.weighted_loss(batch, pooled)
        for name, loss in {"loss": total, **losses}.items():
            self.means[f"train/{name}"].update(loss.detach().expand(len(batch)))
        if pooled is not None:
            self._diagnose(pooled, batch)
        for name, mean in self.means.items():
            self.log(name, mean, prog_bar=name == "train/loss", on_step=False, on_epoch=True)
        self.scores.log(self)
        return total

    @torch.no_grad()
    def _diagnose(self, pooled: Mapping[str, tuple[Tensor, Tensor]], batch: Batch) -> None:
        h1, h2 = next(iter(pooled.values()))
        self.scores.update("window", h1, h2)
        for level, head in self._id_heads():
            self.scores.update(level, *pooled[head.view], batch.levels[head.level], twins=False)
        for name, value in zip(DIAGNOSTICS, (alignment(h1, h2), uniformity(h1), effective_rank(h1)), strict=True):
            self.means[f"train/{name}"].update(value)

    def on_train_epoch_end(self) -> None:
        """Warn, once, when a learned mask has collapsed."""
        for view in self.learning:
            mean = self.means[f"train/{view}/kept"]
            if self._warned or mean.weight == 0:
                continue
            kept = float(mean.compute())
            if not COLLAPSED < kept < 1 - COLLAPSED:
                self._warned = True
                log.warning(
                    "the learned mask of the view %r keeps %.1f %% of the time steps: it has collapsed. Raise its %s, "
                    "or lower the augmenter's lr.",
                    view,
                    100 * kept,
                    "mask_weight or lower its threshold" if kept > 0.5 else "mmd_weight, or lower its mask_weight",
                )

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and take the new weights into the average, before any checkpoint of this step is written."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None and self.encoder is not None:
            self.average.update_parameters(self.encoder)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW over encoder and heads; the augmenters that learn get one of their own."""
        if self.learning:
            self.augmenter_training = AugmenterTraining(
                self.learning, lambda gradient: self.trainer.strategy.reduce(gradient, reduce_op="mean")
            )
            if self._augmenter_state is not None:
                self.augmenter_training.load_state_dict(self._augmenter_state)
        own = {id(p) for augmenter in self.learning.values() for p in augmenter.parameters()}
        parameters = [p for p in self.parameters() if p.requires_grad and id(p) not in own]
        return adamw(parameters, self.lr, self.weight_decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of the augmenters' optimizer, and what the other processes have logged."""
        save_logged(self, checkpoint)
        if self.augmenter_training is not None:
            checkpoint["augmenter_training"] = self.augmenter_training.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of the augmenters' optimizer until there is one."""
        load_logged(self, checkpoint)
        self._augmenter_state = checkpoint.get("augmenter_training")
