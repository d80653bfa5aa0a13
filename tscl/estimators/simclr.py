"""SimCLR as an estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import nn

from tscl.augmenters import Augmenter, ChannelScaling, Compose, Jitter
from tscl.data import WindowDataset
from tscl.estimators.base import ContrastiveEstimator
from tscl.heads import Head, ProjectionHead


class SimCLR(ContrastiveEstimator):
    """Two augmented views of a window against the batch (Chen et al., *SimCLR*, ICML 2020). It needs no ids.

    Parameters
    ----------
    encoder : nn.Module, callable or None
        As in :class:`tscl.COMET`.
    heads : sequence of Head or None
        By default one :class:`tscl.heads.ProjectionHead` on the view pair ``"augmented"``.
    augmenter : Augmenter or None
        Makes both views; by default every channel is scaled (standard deviation 0.2) and white noise is added (0.05),
        which suits signals of unit variance.
    dim, hidden, depth : int
        Embedding dimensions, width and number of residual blocks of the default encoder.
    max_epochs, batch_size, lr, weight_decay, averaging, windows_per_trial, trials_per_patient, pooling
        As in :class:`tscl.COMET`. Ids only shape the batches; the other windows of a batch are the negatives.
    projection : int
        Dimensions in which the views are compared; the projection is thrown away after training.
    temperature : float
        Divides the cosine similarity.
    accelerator, precision, random_state, verbose
        As in :class:`tscl.COMET`.

    Attributes
    ----------
    encoder_, history_, n_channels_in_
        As in :class:`tscl.COMET`.

    Examples
    --------
    >>> import numpy as np
    >>> from tscl import SimCLR
    >>> X = np.random.default_rng(0).normal(size=(32, 1, 50))
    >>> SimCLR(dim=16, hidden=8, depth=2, max_epochs=1, random_state=0).fit(X).transform(X).shape
    (32, 16)
    """

    def __init__(
        self,
        encoder: nn.Module | Callable[[int], nn.Module] | None = None,
        heads: Sequence[Head] | None = None,
        augmenter: Augmenter | None = None,
        dim: int = 320,
        hidden: int = 64,
        depth: int = 10,
        max_epochs: int = 40,
        batch_size: int = 128,
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        projection: int = 128,
        temperature: float = 0.5,
        averaging: Literal["swa", "ema"] | None = "swa",
        windows_per_trial: int = 1,
        trials_per_patient: int = 1,
        pooling: str = "max",
        accelerator: str = "auto",
        precision: Any = "32-true",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.encoder = encoder
        self.heads = heads
        self.augmenter = augmenter
        self.dim = dim
        self.hidden = hidden
        self.depth = depth
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.projection = projection
        self.temperature = temperature
        self.averaging = averaging
        self.windows_per_trial = windows_per_trial
        self.trials_per_patient = trials_per_patient
        self.pooling = pooling
        self.accelerator = accelerator
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def _heads(self, data: WindowDataset, dim: int) -> Sequence[Head]:
        if self.heads is not None:
            return self.heads
        return [ProjectionHead(dim, self.projection, temperature=self.temperature)]

    def _views(self) -> Mapping[str, Augmenter]:
        return {"augmented": self.augmenter or Compose([ChannelScaling(0.2), Jitter(0.05)])}
