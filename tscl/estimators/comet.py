"""COMET as an estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from torch import nn

from tscl.augmenters import Augmenter, Identity, LatentMask
from tscl.data import WindowDataset
from tscl.estimators.base import ContrastiveEstimator
from tscl.heads import GroupHead, Head, ObservationHead, SampleHead


class COMET(ContrastiveEstimator):
    """Contrastive heads at every level that the data have (Wang et al., *Contrast Everything*, NeurIPS 2023).

    Parameters
    ----------
    encoder : nn.Module, callable or None
        An encoder ``(B, C, T) -> (B, dim, T')``, or what builds one from the number of channels; by default a
        :class:`tscl.encoders.DilatedConvEncoder` of the sizes below. A given module is copied, not changed.
    heads : mapping of str to float, sequence of Head, or None
        Weight of every level: ``"observation"``, ``"sample"``, and any id level passed to ``fit`` (``"trial"``,
        ``"patient"``, ...). By default equal weights for the first two and every id level there is.
    augmenter : Augmenter or None
        Makes the views of the observation and the sample level; by default a continuous latent mask. The id levels see
        the windows as they are.
    dim, hidden, depth : int
        Embedding dimensions, width and number of residual blocks of the default encoder.
    max_epochs : int
        Number of passes over the windows.
    batch_size : int
        Windows a batch.
    lr, weight_decay : float
        Of AdamW.
    temperature : float
        Of the id levels.
    averaging : {"swa", "ema"} or None
        Which average of the weights over the steps embeds.
    windows_per_trial, trials_per_patient : int
        What a batch holds of each of its trials and patients.
    pooling : str
        How ``transform`` pools over time.
    accelerator, precision : str
        As in ``lightning.Trainer``.
    random_state : int, RandomState or None
        Fixes initialisation, batches, views and dropout.
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    encoder_ : nn.Module
        The trained (averaged) encoder, in eval mode, on the CPU.
    history_ : DataFrame
        Loss of every head, alignment, uniformity and effective rank, a row an epoch.
    n_channels_in_ : int
        Number of channels seen by ``fit``.

    Examples
    --------
    >>> import numpy as np
    >>> from tscl import COMET
    >>> rng = np.random.default_rng(0)
    >>> X, patient, trial = rng.normal(size=(48, 2, 64)), np.repeat(np.arange(4), 12), np.repeat(np.arange(12), 4)
    >>> model = COMET(dim=16, hidden=8, depth=2, max_epochs=1, random_state=0).fit(X, patient=patient, trial=trial)
    >>> model.transform(X).shape, model.encode(X).shape
    ((48, 16), (48, 16, 64))
    """

    def __init__(
        self,
        encoder: nn.Module | Callable[[int], nn.Module] | None = None,
        heads: Mapping[str, float] | Sequence[Head] | None = None,
        augmenter: Augmenter | None = None,
        dim: int = 320,
        hidden: int = 64,
        depth: int = 10,
        max_epochs: int = 100,
        batch_size: int = 256,
        lr: float = 1e-4,
        weight_decay: float = 0.01,
        temperature: float = 0.1,
        averaging: Literal["swa", "ema"] | None = "swa",
        windows_per_trial: int = 4,
        trials_per_patient: int = 2,
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
        if self.heads is not None and not isinstance(self.heads, Mapping):
            return self.heads
        names = ["observation", "sample", *data.levels]
        weights = self.heads if self.heads is not None else dict.fromkeys(names, 1 / len(names))
        kinds: dict[str, Callable[[float], Head]] = {
            "observation": lambda weight: ObservationHead(weight=weight),
            "sample": lambda weight: SampleHead(weight=weight),
        }
        return [
            kinds[name](weight) if name in kinds else GroupHead(name, weight=weight, temperature=self.temperature)
            for name, weight in weights.items()
        ]

    def _views(self) -> Mapping[str, Augmenter]:
        return {"clean": Identity(), "masked": self.augmenter or LatentMask("continuous")}
