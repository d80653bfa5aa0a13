"""What the classifier and the regressor share: pretraining, validation patients, label fractions, fine-tuning."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, column_or_1d
from torch import nn

from tscl.data import WindowDataset, holdout, label_fraction
from tscl.encoders import load_state, save_state
from tscl.encoders.pretrained import check_new, find_pretrained, read_config, read_encoder
from tscl.errors import ConfigError, DataError
from tscl.estimators.base import ContrastiveEstimator
from tscl.estimators.comet import COMET
from tscl.estimators.inputs import as_windows
from tscl.estimators.recordings import fitted_windows
from tscl.estimators.saving import fitted_values, read_model, write_model
from tscl.estimators.tables import WindowEstimator
from tscl.files import atomic_folder

if TYPE_CHECKING:
    from typing import Self

    from tscl.evaluation.tuning import Tuner

STRATUM, ROW, WINDOW = "_stratum", "_row", "_window"
HEAD, PRETRAINED = "head.safetensors", "pretrained"


class SupervisedEstimator(WindowEstimator):
    """A pretrained encoder, fine-tuned with a head. A subclass writes what raises NotImplementedError here."""

    estimator: Any
    label_fraction: float
    validation: float
    freeze: bool
    pooling: str | None
    max_epochs: int
    patience: int
    lr: float
    batch_size: int
    random_state: Any
    accelerator: str
    verbose: bool
    finetuner_: Any

    def _checked_y(self, y: np.ndarray) -> np.ndarray:
        """Return labels (n,) that can be learnt, missing ones among them, or raise ValueError."""
        raise NotImplementedError(f"{type(self).__name__} must define _checked_y(y).")

    def _strata(self, data: WindowDataset) -> np.ndarray:
        """Return what patients are balanced by, shape (n,), int; -1 where the label is missing."""
        raise NotImplementedError(f"{type(self).__name__} must define _strata(data).")

    def _tuner(self, encoder: Any, options: Mapping[str, Any]) -> Tuner:
        raise NotImplementedError(f"{type(self).__name__} must define _tuner(encoder, options).")

    def _described(self) -> dict[str, Any]:
        """Return what ``config.json`` says of the fitted model, JSON-ready."""
        raise NotImplementedError(f"{type(self).__name__} must define _described().")

    def _write(self, folder: Path) -> None:
        """Write further files of the fitted model."""

    def _open(self, folder: Path, fitted: Mapping[str, Any], encoder: Any, options: Mapping[str, Any]) -> None:
        """Set ``finetuner_``, untrained, and all else that was described and written."""
        raise NotImplementedError(f"{type(self).__name__} must define _open(folder, fitted, encoder, options).")

    @property
    def encoder_(self) -> Any:
        """The fine-tuned encoder."""
        return self.finetuner_.module_.encoder

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
        """Pretrain, unless ``estimator`` is fitted, then train encoder and head on the labelled windows.

        Pretraining sees all of ``X``, the windows of the validation patients too, and no label.

        Parameters
        ----------
        X : as in :meth:`tscl.COMET.fit`
        y : array of n labels
            NaN or None where it is unknown: such windows are pretrained on only. May be left out with a WindowDataset
            that has a target.
        patient, trial : array of n ids, optional
            The patient and the trial of every window. Validation patients and label fractions are drawn by patient;
            without patients by the coarsest level there is, and without any ids by window, so windows of a recording
            may then stand on both sides.
        levels : mapping of str to array of n ids, optional
            Further id levels.
        window : float, optional
            Length of the windows that recordings are cut into, s; ``y`` has a label for each of them.

        Returns
        -------
        self

        Raises
        ------
        DataError
            When shapes, ids and labels disagree, or there are too few patients or labels for a validation part.
        ConfigError
            For settings that cannot work.
        """
        self._check_settings()
        windows = self._windows(X, reset=True)
        data = as_windows(windows, self._given_y(y, isinstance(X, WindowDataset)), patient, trial, levels, window)
        if data.target is None:
            raise DataError(
                f"{type(self).__name__} requires y to be passed, but the target y is None and X brings none along."
            )
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        strata = self._strata(data)
        train, val = self._sides(data, strata, seed)
        self._check_training(data, strata[train])
        self.estimator_ = self._pretrained(data, seed)
        data = as_windows(self.estimator_._checked(data))
        options = {
            "max_epochs": self.max_epochs,
            "lr": self.lr,
            "batch_size": self.batch_size,
            "patience": self.patience,
            "freeze": self.freeze,
            "pooling": self.estimator_.pooling if self.pooling is None else self.pooling,
            "seed": seed,
            "accelerator": self.accelerator,
            "verbose": self.verbose,
        }
        self.finetuner_ = self._tuner(self.estimator_.encoder_, options)
        validation = None if val is None else data.select(val)
        self.finetuner_.fit(data.select(train), validation)
        self.history_ = pd.DataFrame(self.finetuner_.history_)
        self.n_channels_in_ = data.shape[1]
        self.window_ = data.duration if data.channels.named else None
        self._finish(validation)
        return self

    def _check_settings(self) -> None:
        if not 0 <= self.validation < 1:
            raise ConfigError(f"validation is {self.validation:g}: give a share of the patients, at least 0, below 1.")

    def _check_training(self, data: WindowDataset, strata: np.ndarray) -> None:
        """Refuse training labels that nothing can be learnt from."""

    def _finish(self, validation: WindowDataset | None) -> None:
        """Do what needs the trained model and the validation windows."""

    def _given_y(self, y: Any, brought: bool) -> np.ndarray | None:
        if y is None and brought:
            return None
        try:
            return self._checked_y(column_or_1d(y, warn=True))
        except ValueError as error:
            said = f"{type(self).__name__} requires y to be passed, but the target y is None." if y is None else error
            raise DataError(" ".join(str(said).split())) from error

    def _sides(self, data: WindowDataset, strata: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the positions of the windows to train on and of the validation patients'."""
        labelled = np.flatnonzero(strata >= 0)
        if len(labelled) < 2:
            raise DataError(f"too few windows have a label (n_samples = {len(labelled)}): give at least two a label.")
        levels = data.levels or (WINDOW,)
        table = data.metadata.assign(**{STRATUM: strata, ROW: range(len(data)), WINDOW: range(len(data))})
        every = WindowDataset(data.signals, table, data.channels, levels, STRATUM, rows=data.rows).select(labelled)
        by = every.subject_level
        ids = every.metadata[by]
        if self.validation and ids.nunique() < 2:
            raise DataError(
                f"all labelled windows are of one {by.strip('_')} ({ids.iloc[0]}), which leaves none to validate on: "
                "add data, or set validation=0 to train without early stopping."
            )
        split = holdout(every, by=by, val=self.validation, test=0, seed=seed)
        train = label_fraction(split.train, self.label_fraction, by=by, seed=seed)
        self.validation_patients_ = None if split.val is None else split.val.metadata[by].unique()
        rows = [None if side is None else side.metadata[ROW].to_numpy() for side in (train, split.val)]
        assert rows[0] is not None
        return rows[0], rows[1]

    def _pretrained(self, data: WindowDataset, seed: int) -> ContrastiveEstimator:
        given = COMET(accelerator=self.accelerator, verbose=self.verbose) if self.estimator is None else self.estimator
        if isinstance(given, FrozenEstimator):
            given = given.estimator
            check_is_fitted(given, "encoder_")
        if not isinstance(given, ContrastiveEstimator):
            raise ConfigError(f"estimator is a {type(given).__name__}: give a contrastive one, such as tscl.COMET().")
        if hasattr(given, "encoder_"):
            return given
        model = clone(given)
        if model.random_state is None:
            model.set_params(random_state=seed)
        return model.fit(data)

    def _fitted_windows(self, X: Any) -> WindowDataset:
        """Return windows as the fitted model takes them."""
        check_is_fitted(self, "finetuner_")
        X = fitted_windows(self._windows(X, reset=False), self.estimator_.channels_, self.window_)
        return as_windows(self.estimator_._checked(X))

    def save_pretrained(self, folder: str | Path, card: Mapping[str, Any] | None = None) -> Path:
        """Write the fitted model into a new folder, with the estimator that it was fine-tuned from.

        Ids of patients are not written; logits and labels of the validation windows are, where they calibrate.
        Parameters and errors are those of :meth:`tscl.COMET.save_pretrained`.
        """
        check_is_fitted(self, "finetuner_")
        folder = Path(folder)
        check_new(folder)
        columns = {name: getattr(self, name, None) for name in ("n_features_in_", "feature_names_in_")}
        use = f"predicted = model.predict(X)  # windows (n, {self.n_channels_in_}, T)"
        with atomic_folder(folder) as temporary:
            self.estimator_.save_pretrained(temporary / PRETRAINED)
            save_state(self.finetuner_.module_.head, temporary / HEAD)
            self._write(temporary)
            write_model(
                temporary,
                self,
                use,
                card,
                n_channels_in=self.n_channels_in_,
                window=self.window_,
                fine_pooling=self.finetuner_.pooling,
                columns={name: np.asarray(value).tolist() for name, value in columns.items() if value is not None},
                fitted=self._described(),
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
        """Read a model that :meth:`save_pretrained` wrote; it opens on the CPU whatever it was trained on.

        ``validation_patients_`` is None then. Parameters and errors are those of :meth:`tscl.COMET.from_pretrained`.
        """
        import tscl.estimators as known

        folder = find_pretrained(name_or_folder, local_files_only, revision)
        model, said = read_model(folder, cls)
        model.n_channels_in_, model.window_, pooling, columns, fitted = fitted_values(
            folder, said, "n_channels_in", "window", "fine_pooling", "columns", "fitted"
        )
        kind = str(read_config(folder / PRETRAINED).get("estimator"))
        if kind not in known.__all__:
            raise DataError(f"{folder} was fine-tuned from a {kind}, which tscl does not have: it cannot be opened.")
        model.estimator_ = getattr(known, kind).from_pretrained(folder / PRETRAINED, encoder=copy.deepcopy(encoder))
        options = {"pooling": pooling, "batch_size": model.batch_size, "accelerator": model.accelerator}
        model._open(folder, fitted, read_encoder(folder, encoder), options)
        module = model.finetuner_.untrained()
        load_state(module.head, folder / HEAD)
        model.finetuner_.module_ = module.eval()
        model.validation_patients_ = None
        for name, value in columns.items():
            setattr(model, name, value if name == "n_features_in_" else np.asarray(value, dtype=object))
        return model
