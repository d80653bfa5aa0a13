"""What all contrastive estimators share: fit, transform, encode, explain, and the model on disk."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from tscl.augmenters import Augmenter
from tscl.data import Channels, WindowDataset
from tscl.encoders import DilatedConvEncoder, load_state, save_state
from tscl.encoders.pretrained import check_new, find_pretrained, read_encoder
from tscl.errors import ConfigError, DataError
from tscl.estimators.inputs import as_signals, as_windows
from tscl.estimators.recordings import fitted_windows
from tscl.estimators.saving import fitted_values, read_model, write_model
from tscl.estimators.tables import WindowEstimator
from tscl.files import atomic_folder
from tscl.functional.pooling import parse_pooling
from tscl.heads import Head

if TYPE_CHECKING:
    from typing import Self

    from tscl.evaluation import SimilarityAttribution

AUGMENTER = "augmenter.safetensors"


class ContrastiveEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, WindowEstimator):
    """Base of the estimators. A subclass has a constructor, and writes ``_heads`` and ``_views``.

    Attributes
    ----------
    channels_ : Channels
        Names, types, unit, rate and sensors of what ``fit`` saw; ``ch0, ch1, ...`` for arrays.
    window_ : float or None
        Seconds of the windows of ``fit``; None for arrays. A Raw is cut into such windows by ``transform``.
    """

    encoder: nn.Module | Callable[[int], nn.Module] | None
    augmenter: Augmenter | None
    augmenter_: Any
    heads: Any
    dim: int
    hidden: int
    depth: int
    max_epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    averaging: Any
    windows_per_trial: int
    trials_per_patient: int
    pooling: Any
    accelerator: str
    precision: Any
    random_state: Any
    verbose: bool
    channels_: Channels | None = None
    window_: float | None = None

    def _heads(self, data: WindowDataset, dim: int) -> Sequence[Head]:
        raise NotImplementedError(f"{type(self).__name__} must define _heads(data, dim).")

    def _views(self) -> Mapping[str, Augmenter]:
        raise NotImplementedError(f"{type(self).__name__} must define _views().")

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        patient: Any = None,
        trial: Any = None,
        levels: Mapping[str, Any] | None = None,
        window: float | None = None,
    ) -> Self:
        """Learn an encoder from windows; labels are not used.

        Parameters
        ----------
        X : ndarray or Tensor, shape (n, C, T) or (n, T); list of n arrays (C, T_i); WindowDataset; or recordings
            Windows; NaN marks missing values, unequal lengths are padded with NaN. The columns of a table (n, T) are
            checked as scikit-learn does: later ones must have as many. Recordings are ``mne.Epochs``, ``mne.io.Raw``, a
            list of them, or the root of a BIDS tree: see :func:`tscl.data.readers.from_mne`.
        y : ignored
            Present for scikit-learn's pipelines.
        patient, trial : array of n ids, optional
            The patient and the trial of every window, or of every recording. A trial is told apart by its patient as
            well.
        levels : mapping of str to array of n ids, optional
            Further id levels.
        window : float, optional
            Length of the windows that recordings are cut into, s; a Raw and a BIDS tree need it.

        Returns
        -------
        self

        Raises
        ------
        DataError
            When shapes and ids disagree or values are infinite.
        TypeError
            When a table is sparse or holds objects.
        ConfigError
            When a head needs ids that were not passed.
        """
        from tscl.data import WindowDataModule
        from tscl.learners import ContrastiveLearner
        from tscl.learners.history import History

        data = as_windows(self._windows(X, reset=True), None, patient, trial, levels, window)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        history = History()
        with torch.random.fork_rng(), quiet_training():
            torch.manual_seed(seed)
            encoder = self._build_encoder(data.shape[1])
            learner = ContrastiveLearner(
                encoder=encoder,
                heads=copy.deepcopy(self._heads(data, encoder.dim)),
                views=copy.deepcopy(self._views()),
                lr=self.lr,
                weight_decay=self.weight_decay,
                averaging=self.averaging,
                seed=seed,
            )
            trainer = quiet_trainer(self, history)
            module = WindowDataModule(
                data,
                batch_size=self.batch_size,
                windows_per_trial=self.windows_per_trial,
                trials_per_patient=self.trials_per_patient,
                seed=seed,
            )
            trainer.fit(learner, datamodule=module)
        self.encoder_ = learner.embedder.cpu().eval()
        learning = next(iter(learner.learning.values()), None)
        self.augmenter_ = None if learning is None else learning.cpu().eval()
        self.history_ = history.frame()
        self.n_channels_in_ = data.shape[1]
        self.channels_ = data.channels
        self.window_ = data.duration if data.channels.named else None
        return self

    @property
    def info_(self) -> Any:
        """``mne.Info`` of the channels that the model was fitted on, with the sensors in their places."""
        from tscl.data.readers import info_of

        check_is_fitted(self, "encoder_")
        return info_of(self.channels_ or Channels.unnamed(self.n_channels_in_))

    def _build_encoder(self, in_channels: int) -> nn.Module:
        if self.encoder is None:
            return self._default_encoder(in_channels)
        if isinstance(self.encoder, nn.Module):
            return copy.deepcopy(self.encoder)
        return self.encoder(in_channels)

    def _default_encoder(self, in_channels: int) -> nn.Module:
        return DilatedConvEncoder(in_channels, self.dim, self.hidden, self.depth)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.encoder_.dim) * sum(segments for _, segments in parse_pooling(self.pooling))

    def transform(self, X: Any) -> np.ndarray:
        """Embed windows.

        Parameters
        ----------
        X : as in :meth:`fit`
            Recordings and WindowDatasets of other channels than those of :meth:`fit` are mapped to them
            (:class:`~tscl.data.preprocessing.MatchChannels`); a Raw is cut into windows as long as those of ``fit``.

        Returns
        -------
        ndarray, shape (n, k * dim), float32
            One pooled embedding a window; k is the number of statistics in ``pooling``.

        Raises
        ------
        DataError
            When ``X`` cannot be mapped to the model's channels, with all that differs.
        """
        return self._embed(X, per_step=False)

    def encode(self, X: Any) -> np.ndarray:
        """Embed every time step.

        Parameters
        ----------
        X : as in :meth:`fit`

        Returns
        -------
        ndarray, shape (n, dim, T'), float32
        """
        return self._embed(X, per_step=True)

    def explain(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Say what the learned augmenter keeps of every window, and how it changes it.

        Parameters
        ----------
        X : as in :meth:`fit`

        Returns
        -------
        mask : ndarray, shape (n, T), float32
            From 0 (removed) to 1 (kept).
        transform : ndarray, shape (n, C, T), float32
            Factors of the signals.

        Raises
        ------
        ConfigError
            When the model has no augmenter that learns.
        """
        data = self._checked(X)
        if self.augmenter_ is None:
            raise ConfigError(
                f"this {type(self).__name__} has no augmenter that learned: fit it with "
                "augmenter=ParametricAugmenter(), or pass one to from_pretrained."
            )
        masks, transforms = [], []
        with torch.inference_mode():
            for start in range(0, len(data), self.batch_size):
                part = data[start : start + self.batch_size]
                mask, transform = self.augmenter_.explain(torch.as_tensor(getattr(part, "x", part)))
                masks.append(mask.numpy())
                transforms.append(transform.numpy())
        return np.concatenate(masks), np.concatenate(transforms)

    def attribute(self, X1: Any, X2: Any, **options: Any) -> SimilarityAttribution:
        """Say which channels and which moments make two windows similar.

        Parameters
        ----------
        X1, X2 : as in :meth:`fit`
            As many windows each: every one of ``X1`` is compared with its counterpart.
        **options
            ``method``, ``steps``, ``baseline``, ... of :func:`tscl.evaluation.attribute_similarity`.

        Returns
        -------
        SimilarityAttribution
            ``first`` and ``second``, each of shape (n, C, T), and the ``similarity``, shape (n,).

        Raises
        ------
        DataError
            When shapes disagree.
        """
        from tscl.evaluation import attribute_similarity

        return attribute_similarity(
            self.encoder_, self._checked(X1), self._checked(X2), pooling=self.pooling, **options
        )

    def _checked(self, X: Any) -> np.ndarray | WindowDataset:
        check_is_fitted(self, "encoder_")
        X = fitted_windows(self._windows(X, reset=False), self.channels_, self.window_)
        data = X if isinstance(X, WindowDataset) else as_signals(X)
        if data.shape[1] != self.n_channels_in_:
            raise DataError(f"X has {data.shape[1]} channels, the model was fitted on {self.n_channels_in_}.")
        return data

    def _embed(self, X: Any, per_step: bool) -> np.ndarray:
        from tscl.evaluation import embed

        data = self._checked(X)
        device = "cuda" if self.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu"
        try:
            return embed(
                self.encoder_.to(device),
                data,
                pooling=self.pooling,
                batch_size=self.batch_size,
                device=device,
                per_step=per_step,
            )
        finally:
            self.encoder_.cpu()

    def save_pretrained(self, folder: str | Path, card: Mapping[str, Any] | None = None) -> Path:
        """Write the fitted model into a new folder as the Hugging Face hub has it: safetensors, JSON, a model card.

        Parameters
        ----------
        folder : path
            Must not exist yet.
        card : mapping, optional
            Further entries of the card's front matter, such as ``{"license": "mit"}``.

        Returns
        -------
        Path

        Raises
        ------
        DataError
            When the folder exists or cannot be written; nothing is left half-written.
        """
        check_is_fitted(self, "encoder_")
        folder = Path(folder)
        check_new(folder)
        use = f"embeddings = model.transform(X)  # windows (n, {self.n_channels_in_}, T)"
        channels = None if self.channels_ is None else self.channels_.to_dict()
        with atomic_folder(folder) as temporary:
            if self.augmenter_ is not None:
                save_state(self.augmenter_, temporary / AUGMENTER)
            write_model(
                temporary, self, use, card, n_channels_in=self.n_channels_in_, window=self.window_, channels=channels
            )
        return folder

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        *,
        encoder: nn.Module | None = None,
        augmenter: Augmenter | None = None,
        local_files_only: bool = True,
        revision: str | None = None,
    ) -> Self:
        """Read a model that :meth:`save_pretrained` wrote; it opens on the CPU whatever it was trained on.

        Parameters
        ----------
        name_or_folder : str or path
            A folder, or, with ``local_files_only=False``, the name of a model on the Hugging Face hub.
        encoder : nn.Module, optional
            The architecture, needed only for encoders without ``config()``.
        augmenter : Augmenter, optional
            The architecture of an augmenter that was passed to the constructor; without it the model cannot
            :meth:`explain`.
        local_files_only : bool
            False allows to fetch from the hub (``user/model``), which needs huggingface_hub.
        revision : str, optional
            Branch, tag or commit on the hub.

        Returns
        -------
        The estimator, fitted.

        Raises
        ------
        DataNotFoundError, DataError
            When there is no model of that name, a file is missing or damaged, or it is another estimator's.
        ConfigError
            When the encoder's class cannot be rebuilt, or huggingface_hub is missing.
        """
        folder = find_pretrained(name_or_folder, local_files_only, revision)
        model, said = read_model(folder, cls)
        [model.n_channels_in_] = fitted_values(folder, said, "n_channels_in")
        model.window_ = said.get("window")
        model.channels_ = Channels.from_dict(said["channels"]) if said.get("channels") else None
        model.encoder_ = read_encoder(folder, encoder)
        model.augmenter_ = model._load_augmenter(folder, augmenter)
        return model

    def _load_augmenter(self, folder: Path, augmenter: Augmenter | None) -> Augmenter | None:
        from tscl.learners.augmenter_training import learning_augmenters

        if augmenter is not None:
            self.augmenter = augmenter
        views = nn.ModuleDict(copy.deepcopy(dict(self._views())))
        learning = next(iter(learning_augmenters(views).values()), None)
        if learning is None or not (folder / AUGMENTER).exists():
            return None
        learning.build(self.n_channels_in_)
        load_state(learning, folder / AUGMENTER)
        return learning.eval()


def quiet_trainer(estimator: Any, *callbacks: Any) -> Any:
    """Return a trainer by an estimator's settings that writes no files."""
    import lightning as L

    return L.Trainer(
        max_epochs=estimator.max_epochs,
        accelerator=estimator.accelerator,
        devices=1,
        precision=estimator.precision,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=bool(estimator.verbose),
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )


@contextmanager
def quiet_training() -> Iterator[None]:
    """Keep Lightning's advice to itself while an estimator fits."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
