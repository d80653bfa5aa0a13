"""AutoTCL as an estimator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch import nn

from tscl.augmenters import Augmenter, ParametricAugmenter
from tscl.data import WindowDataset
from tscl.encoders import CausalConvEncoder
from tscl.estimators.base import ContrastiveEstimator
from tscl.heads import GlobalHead, Head, LocalHead


class AutoTCL(ContrastiveEstimator):
    """Contrast with views that an augmenter learns to make (Zheng et al., *AutoTCL*, ICLR 2024). It needs no ids.

    Parameters
    ----------
    encoder : nn.Module, callable or None
        As in :class:`tscl.COMET`; by default a :class:`tscl.encoders.CausalConvEncoder` of the sizes below.
    heads : sequence of Head or None
        By default a :class:`tscl.heads.GlobalHead` and, unless ``local_weight`` is 0, a
        :class:`tscl.heads.LocalHead`, both on the view pair ``"learned"``.
    augmenter : Augmenter or None
        By default a :class:`tscl.augmenters.ParametricAugmenter` of the settings below.
    dim, hidden, depth : int
        Embedding dimensions, width and number of residual blocks of the default encoder.
    max_epochs, batch_size, lr, weight_decay, averaging, windows_per_trial, trials_per_patient, pooling
        As in :class:`tscl.COMET`. Ids only shape the batches.
    local_weight : float
        Weight of the local contrast (alpha in the paper).
    segments : int
        Number of stretches that the local contrast compares.
    temperature : float
        Of both contrasts.
    objective, use_mask, use_transform, mmd_weight, mask_weight, threshold, temporal_weight, straight_through
        Of the augmenter, see :class:`tscl.augmenters.ParametricAugmenter`.
    augmenter_lr : float
        Learning rate of the augmenter.
    augmenter_every : int
        Steps of the encoder for one of the augmenter (M in the paper).
    accelerator, precision, random_state, verbose
        As in :class:`tscl.COMET`.

    Attributes
    ----------
    augmenter_ : nn.Module
        The trained augmenter, in eval mode, on the CPU.
    encoder_, history_, n_channels_in_
        As in :class:`tscl.COMET`.

    Examples
    --------
    >>> import numpy as np
    >>> from tscl import AutoTCL
    >>> X = np.random.default_rng(0).normal(size=(32, 1, 50))
    >>> model = AutoTCL(dim=16, hidden=8, depth=2, max_epochs=1, random_state=0).fit(X)
    >>> mask, transform = model.explain(X)
    >>> model.transform(X).shape, mask.shape, transform.shape
    ((32, 16), (32, 50), (32, 1, 50))
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
        batch_size: int = 32,
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        local_weight: float = 0.3,
        segments: int = 16,
        temperature: float = 1.0,
        objective: Literal["pri", "adversarial"] = "pri",
        use_mask: bool = True,
        use_transform: bool = True,
        mmd_weight: float = 1.0,
        mask_weight: float = 1.0,
        threshold: float = 0.4,
        temporal_weight: float = 0.0,
        straight_through: bool = True,
        augmenter_lr: float = 0.01,
        augmenter_every: int = 1,
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
        self.local_weight = local_weight
        self.segments = segments
        self.temperature = temperature
        self.objective = objective
        self.use_mask = use_mask
        self.use_transform = use_transform
        self.mmd_weight = mmd_weight
        self.mask_weight = mask_weight
        self.threshold = threshold
        self.temporal_weight = temporal_weight
        self.straight_through = straight_through
        self.augmenter_lr = augmenter_lr
        self.augmenter_every = augmenter_every
        self.averaging = averaging
        self.windows_per_trial = windows_per_trial
        self.trials_per_patient = trials_per_patient
        self.pooling = pooling
        self.accelerator = accelerator
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def _default_encoder(self, in_channels: int) -> nn.Module:
        return CausalConvEncoder(in_channels, self.dim, self.hidden, self.depth)

    def _heads(self, data: WindowDataset, dim: int) -> Sequence[Head]:
        if self.heads is not None:
            return self.heads
        heads: list[Head] = [GlobalHead(temperature=self.temperature)]
        if self.local_weight > 0:
            heads.append(LocalHead(weight=self.local_weight, segments=self.segments, temperature=self.temperature))
        return heads

    def _views(self) -> dict[str, Augmenter]:
        return {"learned": self.augmenter or self._parametric()}

    def _parametric(self) -> Augmenter:
        return ParametricAugmenter(
            objective=self.objective,
            use_mask=self.use_mask,
            use_transform=self.use_transform,
            mmd_weight=self.mmd_weight,
            mask_weight=self.mask_weight,
            threshold=self.threshold,
            temporal_weight=self.temporal_weight,
            straight_through=self.straight_through,
            lr=self.augmenter_lr,
            every=self.augmenter_every,
        )
