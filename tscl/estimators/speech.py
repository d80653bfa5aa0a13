"""From brain signals to the speech that was heard."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from tscl.data import WindowDataset
from tscl.data.speech.arrays import PairedWindows, paired_windows, same_rows, same_sensors
from tscl.encoders import BrainConv
from tscl.encoders.pretrained import check_new, find_pretrained, read_encoder
from tscl.errors import ConfigError, DataError
from tscl.estimators.base import quiet_trainer, quiet_training
from tscl.estimators.inputs import as_signals
from tscl.estimators.saving import fitted_values, read_model, write_model
from tscl.evaluation import embed
from tscl.evaluation.contexts import device_for
from tscl.evaluation.retrieval.ranking import check_ks, match_scores, true_ranks
from tscl.files import atomic_folder
from tscl.functional import clip_loss
from tscl.losses import ClipLoss

if TYPE_CHECKING:
    from typing import Self

POSITIONS = "positions.npz"


class SpeechDecoder(BaseEstimator):
    """Find the stretch of speech that was heard, from M/EEG (Defossez et al. 2023), for arrays.

    A brain encoder is trained so that its output matches the features of the speech that was heard, against those of
    the other windows. Several subjects, with sensors of their own, are trained together.

    Parameters
    ----------
    virtual, hidden, depth, n_frequencies, spatial_dropout : int or float
        Size of the encoder; see :class:`~tscl.encoders.BrainConv`. The defaults are the paper's.
    encoder : callable, optional
        Builds another encoder from the numbers of channels, features and subjects.
    temperature : float or None
        See :class:`~tscl.losses.ClipLoss`.
    symmetric : bool
        See :class:`~tscl.losses.ClipLoss`.
    max_epochs : int
        Most passes over the windows.
    patience : int
        Epochs without a better validation loss after which training ends.
    validation : float
        Share of the sequences that are held out to stop by, where ``fit`` is told the sequences.
    batch_size : int
    lr, weight_decay : float
        Of Adam.
    accelerator : str
        ``"auto"``, ``"cpu"`` or ``"gpu"``.
    precision : str or int
        Lightning's precision, such as ``"bf16-mixed"``.
    random_state : int, RandomState or None
        Seeds weights, order and dropout.
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    encoder_ : nn.Module
        The trained encoder, on the CPU, in eval mode.
    subjects_ : list of str
        Subjects in the order of their index.
    positions_ : dict of str to ndarray, each of shape (C, 2)
        Sensors of every subject.
    log_scale_ : float or None
        Logarithm of the learned factor of the scores, where there is a temperature.
    history_ : DataFrame
        Logged values, an epoch a row.

    Examples
    --------
    >>> decoder = SpeechDecoder(virtual=16, hidden=32, max_epochs=3)
    >>> decoder.fit(X, speech, subject=subject, positions=positions)  # doctest: +SKIP
    >>> decoder.rank(X_test, candidates, subject=subject_test)[:, 0]  # doctest: +SKIP
    """

    def __init__(
        self,
        virtual: int = 270,
        hidden: int = 320,
        depth: int = 5,
        n_frequencies: int = 32,
        spatial_dropout: float = 0.2,
        encoder: Callable[[int, int, int], nn.Module] | None = None,
        temperature: float | None = None,
        symmetric: bool = False,
        max_epochs: int = 50,
        patience: int = 10,
        validation: float = 0.1,
        batch_size: int = 256,
        lr: float = 3e-4,
        weight_decay: float = 0.0,
        accelerator: str = "auto",
        precision: Any = "32-true",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.virtual = virtual
        self.hidden = hidden
        self.depth = depth
        self.n_frequencies = n_frequencies
        self.spatial_dropout = spatial_dropout
        self.encoder = encoder
        self.temperature = temperature
        self.symmetric = symmetric
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation = validation
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.accelerator = accelerator
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self, X: Any, speech: Any = None, *, subject: Any = None, positions: Any = None, sequence: Any = None
    ) -> Self:
        """Train on windows and the speech heard in each.

        Parameters
        ----------
        X : ndarray, shape (n, C, T), or list of n arrays (C_i, T)
            Brain signals at the rate of the speech features. A subject with fewer sensors has NaN in the last rows. Or
            speech windows (:class:`~tscl.data.speech.SpeechWindows`) or a :class:`~tscl.data.speech.SpeechSplit`, which
            bring everything else along; the split's validation side stops the training.
        speech : ndarray, shape (n, F, T)
            Features of what was heard, best standardised over the training data. Equal rows are one stretch of speech.
        subject : array of n ids, optional
            Who listened; one subject for all by default.
        positions : ndarray, shape (C, d) or (n, C, 2), or mapping of subject to (C_s, d)
            Sensor positions: d = 2 on the unit square, d = 3 in metres. NaN where unknown.
        sequence : array of n ids, optional
            The sentence or part of a story of every window. With it ``validation`` of them are held out to stop by and
            to choose the weights; without it all epochs are trained and the last weights taken.

        Returns
        -------
        self

        Raises
        ------
        DataError
            When shapes do not fit each other, or positions are missing.
        ConfigError
            When arrays are passed beside speech windows, or a setting is out of its range.
        """
        from lightning.pytorch.callbacks import EarlyStopping

        from tscl.data import WindowDataModule
        from tscl.learners import CrossModalLearner
        from tscl.learners.history import History

        train, val = self._sides(X, speech, subject, positions, sequence)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        history = History()
        stop = [] if val is None else [EarlyStopping("val/loss", patience=self.patience)]
        with torch.random.fork_rng(), quiet_training():
            torch.manual_seed(seed)
            loss = ClipLoss(self.temperature, self.symmetric)
            learner = CrossModalLearner(
                self.encoder or self._default_encoder,
                loss,
                lr=self.lr,
                weight_decay=self.weight_decay,
                seed=seed,
            )
            first = train[[0]]
            learner.build(first.x.shape[1], first.paired["speech"].shape[1], len(train.subjects))
            trainer = quiet_trainer(self, *stop, history)
            mixed = None if val is None else val.select(np.random.default_rng(0).permutation(len(val)))
            module = WindowDataModule(
                train, mixed, batch_size=self.batch_size, windows_per_trial=1, trials_per_patient=1, seed=seed
            )
            trainer.fit(learner, datamodule=module)
        self.encoder_ = learner.embedder.cpu().eval().requires_grad_(True)
        self.log_scale_ = None if loss.log_scale is None else loss.log_scale.item()
        self.history_ = history.frame()
        self.subjects_ = list(train.subjects)
        self.n_channels_in_, self.n_features_out_ = first.x.shape[1], first.paired["speech"].shape[1]
        self.positions_ = _one_layout_each(train)
        return self

    def _default_encoder(self, n_channels: int, n_features: int, n_subjects: int) -> nn.Module:
        return BrainConv(
            n_channels,
            n_features,
            n_subjects,
            virtual=self.virtual,
            hidden=self.hidden,
            depth=self.depth,
            n_frequencies=self.n_frequencies,
            spatial_dropout=self.spatial_dropout,
        )

    def _sides(self, X: Any, speech: Any, subject: Any, positions: Any, sequence: Any) -> tuple[Any, Any]:
        from tscl.data.speech import SpeechSplit

        if isinstance(X, (SpeechSplit, WindowDataset)):
            if any(one is not None for one in (speech, subject, positions, sequence)):
                raise ConfigError(
                    f"X is a {type(X).__name__} and brings speech, subjects and positions along: pass it alone."
                )
            return (X.train, X.val) if isinstance(X, SpeechSplit) else (X, None)
        if speech is None:
            raise DataError("speech is missing: pass the features of what was heard, (windows, features, times).")
        data = paired_windows(as_signals(same_sensors(X)), speech, subject, positions)
        if sequence is None or self.validation == 0:
            return data, None
        sequence = np.asarray(sequence)
        if sequence.shape != (len(data),):
            raise DataError(f"sequence has shape {sequence.shape} for {len(data)} windows: give one id a window.")
        ids = check_random_state(self.random_state).permutation(np.unique(sequence))
        held = np.isin(sequence, ids[: max(1, round(self.validation * len(ids)))])
        if held.all():
            raise DataError("all windows are of one sequence, which leaves none to train on: pass no sequence.")
        return data.select(~held), data.select(held)

    def transform(self, X: Any, *, subject: Any = None, positions: Any = None) -> np.ndarray:
        """Predict the speech features of windows.

        Parameters
        ----------
        X, subject, positions : as in :meth:`fit`
            Positions of known subjects need not be passed again. A subject that was not trained on, or None, goes
            through the mean subject layer.

        Returns
        -------
        ndarray, shape (n, F, T), float32
        """
        data = self._given(X, subject, positions)
        return embed(
            self.encoder_, data, batch_size=self.batch_size, device=device_for(self.accelerator), per_step=True
        )

    def _given(self, X: Any, subject: Any, positions: Any) -> WindowDataset:
        check_is_fitted(self, "encoder_")
        if isinstance(X, WindowDataset):
            if list(getattr(X, "subjects", [])) != self.subjects_:
                raise ConfigError(
                    "X numbers its subjects otherwise than in fit: make it with subjects=decoder.subjects_."
                )
            return X
        signals = as_signals(same_sensors(X))
        if getattr(self.encoder_, "attention", None) is None and signals.shape[1] != self.n_channels_in_:
            raise DataError(f"X has {signals.shape[1]} channels, the decoder was fitted on {self.n_channels_in_}.")
        if positions is None:
            positions = self._known_positions(signals, subject)
        return paired_windows(signals, None, subject, positions, subjects=self.subjects_)

    def _known_positions(self, signals: np.ndarray, subject: Any) -> Any:
        layouts = list(self.positions_.values())
        if all(np.array_equal(one, layouts[0], equal_nan=True) for one in layouts):
            return layouts[0][: signals.shape[1]]
        if subject is None:
            raise DataError("the subjects of fit have different sensors: pass subject or positions.")
        wanted = np.unique(np.asarray(subject).astype(str)).tolist()
        unknown = [one for one in wanted if one not in self.positions_]
        if unknown:
            raise DataError(f"the sensors of the subjects {unknown} are not known from fit: pass positions.")
        return {one: self.positions_[one][: signals.shape[1]] for one in wanted}

    def predict_proba(self, X: Any, candidates: Any, *, subject: Any = None, positions: Any = None) -> np.ndarray:
        """Give the probability of every candidate, shape (n, m), float32; arguments as in :meth:`rank`."""
        z = torch.from_numpy(self.transform(X, subject=subject, positions=positions))
        candidates = torch.as_tensor(np.asarray(candidates, dtype=np.float32))
        logits = match_scores(z, candidates)
        if self.log_scale_ is not None:
            logits = logits / z.flatten(1).norm(dim=1, keepdim=True) * np.exp(self.log_scale_)
        return logits.softmax(dim=1).numpy()

    def rank(self, X: Any, candidates: Any, *, subject: Any = None, positions: Any = None) -> np.ndarray:
        """Order the candidates for every window, the likeliest first.

        Parameters
        ----------
        X, subject, positions : as in :meth:`transform`
        candidates : ndarray, shape (m, F, T)
            Features of the stretches to choose from.

        Returns
        -------
        ndarray, shape (n, m), int64
            Row i holds positions in ``candidates``.
        """
        scores = self.predict_proba(X, candidates, subject=subject, positions=positions)
        return np.argsort(-scores, axis=1, kind="stable")

    def predict(self, X: Any, candidates: Any, *, subject: Any = None, positions: Any = None) -> np.ndarray:
        """Return the position of the likeliest candidate of every window, shape (n,), int64; see :meth:`rank`."""
        return self.rank(X, candidates, subject=subject, positions=positions)[:, 0]

    def score(self, X: Any, speech: Any, *, subject: Any = None, positions: Any = None, k: int = 1) -> float:
        """Return the top-k accuracy: how often the own stretch is among the best k of all distinct ones of ``speech``.

        Parameters
        ----------
        X, subject, positions : as in :meth:`transform`
        speech : ndarray, shape (n, F, T)
            What was heard in each window; equal rows are one candidate.
        k : int

        Returns
        -------
        float

        Raises
        ------
        ConfigError
            When there are not more candidates than k.
        """
        speech = np.ascontiguousarray(speech, dtype=np.float32)
        truth = same_rows(speech)
        first = np.unique(truth, return_index=True)[1]
        check_ks(len(first), (k,))
        scores = self.predict_proba(X, speech[first], subject=subject, positions=positions)
        return float((true_ranks(scores, truth) <= k).mean())

    def adapt(
        self, X: Any, speech: Any, *, subject: str, positions: Any = None, steps: int = 200, lr: float = 1e-2
    ) -> Self:
        """Calibrate to a new subject: train a layer of its own on a few minutes, and nothing else.

        Parameters
        ----------
        X, speech, positions : as in :meth:`fit`
            All of one subject.
        subject : str
            Its name, for later calls.
        steps : int
            Steps of Adam on batches of ``batch_size`` windows.
        lr : float
            Learning rate.

        Returns
        -------
        self

        Raises
        ------
        ConfigError
            When the subject is known already, or the encoder has no subject layer.
        DataError
            When shapes do not fit each other or those of ``fit``, or positions are missing.
        """
        check_is_fitted(self, "encoder_")
        if subject in self.subjects_:
            raise ConfigError(f"the subject {subject!r} was fitted already: adapt to a new one.")
        if not hasattr(self.encoder_, "add_subject"):
            raise ConfigError(f"{type(self.encoder_).__name__} has no subject layer: there is nothing to calibrate.")
        signals = as_signals(same_sensors(X))
        if positions is None:
            positions = self._known_positions(signals, [subject])
        encoder = copy.deepcopy(self.encoder_)
        encoder.add_subject()
        subjects = [*self.subjects_, subject]
        data = paired_windows(signals, speech, np.full(len(signals), subject), positions, subjects=subjects)
        if data.speech is None or data.speech.shape[1] != self.n_features_out_:
            raise DataError(
                f"speech has shape {np.shape(speech)}: expected (windows, {self.n_features_out_}, times), as in fit."
            )
        _calibrate(encoder, data, self.log_scale_, steps, lr, self.batch_size, self.random_state)
        self.encoder_ = encoder.eval()
        self.subjects_, self.positions_ = subjects, {**self.positions_, **_one_layout_each(data)}
        return self

    def save_pretrained(self, folder: str | Path, card: Mapping[str, Any] | None = None) -> Path:
        """Write the fitted decoder into a new folder as the Hugging Face hub has it, with the arrays of positions.

        Parameters and errors are those of :meth:`tscl.COMET.save_pretrained`.
        """
        check_is_fitted(self, "encoder_")
        folder = Path(folder)
        check_new(folder)
        with atomic_folder(folder) as temporary:
            layouts: dict[str, Any] = {str(i): places for i, places in enumerate(self.positions_.values())}
            np.savez(temporary / POSITIONS, **layouts)
            write_model(
                temporary,
                self,
                "features = model.transform(X, subject=subject)  # windows (n, sensors, T)",
                card,
                subjects=self.subjects_,
                laid_out=list(self.positions_),
                log_scale=self.log_scale_,
                n_channels_in=self.n_channels_in_,
                n_features_out=self.n_features_out_,
            )
        return folder

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | Path,
        *,
        encoder: nn.Module | None = None,
        local_files_only: bool = True,
        revision: str | None = None,
    ) -> Self:
        """Read a decoder that :meth:`save_pretrained` wrote; it opens on the CPU whatever it was trained on.

        Parameters and errors are those of :meth:`tscl.COMET.from_pretrained`.
        """
        folder = find_pretrained(name_or_folder, local_files_only, revision)
        model, said = read_model(folder, cls)
        names = ("subjects", "laid_out", "log_scale", "n_channels_in", "n_features_out")
        subjects, laid_out, model.log_scale_, model.n_channels_in_, model.n_features_out_ = fitted_values(
            folder, said, *names
        )
        model.encoder_, model.subjects_ = read_encoder(folder, encoder), subjects
        try:
            with np.load(folder / POSITIONS, allow_pickle=False) as layouts:
                model.positions_ = {name: layouts[str(i)] for i, name in enumerate(laid_out)}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise DataError(f"{folder / POSITIONS} is missing or damaged ({error}): save the model again.") from error
        return model


def _one_layout_each(data: Any) -> dict[str, np.ndarray]:
    """Return the sensor positions (C, 2) of every subject of the windows."""
    names = data.metadata["patient"].astype(str)
    first = names.drop_duplicates().index
    positions = data[first.to_numpy()].sensors.positions.numpy()
    return {names[row]: places for row, places in zip(first, positions, strict=True)}


def _calibrate(
    encoder: Any, data: PairedWindows, log_scale: float | None, steps: int, lr: float, batch_size: int, seed: Any
) -> None:
    """Train the last subject's matrix alone, with everything else, and the normalisation, as it is."""
    matrices = encoder.subjects.matrices.detach()
    own = matrices[-1:].clone().requires_grad_(True)
    optimizer = torch.optim.Adam([own], lr=lr, fused=True)
    scale = None if log_scale is None else torch.tensor(log_scale)
    rng = check_random_state(seed)
    encoder.eval().requires_grad_(False)
    for _ in range(steps):
        batch = data[np.sort(rng.permutation(len(data))[:batch_size])]
        changed = {"subjects.matrices": torch.cat([matrices[:-1], own])}
        z = torch.func.functional_call(encoder, changed, (batch.x,), {"sensors": batch.sensors})
        loss = clip_loss(z, batch.paired["speech"], ids=batch.levels["segment"], log_scale=scale)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    encoder.subjects.matrices.data[-1:] = own.detach()
    encoder.requires_grad_(True)
