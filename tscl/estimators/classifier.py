"""A fine-tuned classifier on top of a contrastive estimator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from tscl.data import WindowDataset
from tscl.errors import ConfigError, DataError
from tscl.estimators.calibration import METHODS, Calibration
from tscl.estimators.supervised import SupervisedEstimator

CALIBRATION = "calibration.npz"


class ContrastiveClassifier(ClassifierMixin, SupervisedEstimator):
    """Classify windows: an encoder that was pretrained without labels is trained on with a head, on labels.

    Some patients are set aside: training stops when the F1 of their windows no longer grows, the weights of the best
    epoch are kept, and probabilities can be calibrated on them. Being used for both, they do not tell how good the
    classifier is: take patients that ``fit`` never saw for that.

    Parameters
    ----------
    estimator : ContrastiveEstimator or None
        :class:`tscl.COMET` by default. One that is fitted is taken as it is, whatever it was fitted on; any other is
        cloned and fitted on all of ``X``, without labels. scikit-learn's ``clone``, and so a grid search, forgets
        what was fitted unless it is wrapped: ``FrozenEstimator(fitted)``.
    label_fraction : float in (0, 1]
        Share of the training patients whose labels are used; at least one patient of every class.
    validation : float in [0, 1)
        Share of the labelled patients that is set aside, drawn so that classes are balanced; 0 for none, which trains
        for ``max_epochs``.
    calibration : {"temperature", "sigmoid", "isotonic"} or None
        How probabilities are calibrated on the validation patients: one temperature for all logits (Guo et al., ICML
        2017), or scikit-learn's ``CalibratedClassifierCV``. Isotonic needs many windows.
    freeze : bool
        Train the head only.
    pooling : str or None
        How time steps become one embedding; that of ``estimator`` by default.
    max_epochs : int
        Epochs of fine-tuning at most.
    patience : int
        Stop after so many epochs without improvement.
    lr : float
        Learning rate of AdamW.
    batch_size : int
        Windows a batch, at least 2.
    class_weight : "balanced", mapping of class to float, or None
        Weights of the classes in the loss.
    random_state : int, RandomState or None
        Fixes validation patients, label fraction and training, and pretraining unless ``estimator`` has its own.
    accelerator : str
        As in ``lightning.Trainer``.
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
        Class labels, sorted.
    estimator_ : ContrastiveEstimator
        The pretrained model.
    encoder_ : nn.Module
        The fine-tuned encoder, in eval mode, on the CPU.
    finetuner_ : tscl.evaluation.FineTuner
        Its ``module_`` holds the trained ``encoder`` and ``head``.
    validation_patients_ : ndarray or None
        Patients that were set aside; without patients, ids of the coarsest level, or positions in ``X``.
    calibrator_ : object or None
        Turns logits into calibrated probabilities; its ``model`` is what was fitted.
    history_ : DataFrame
        Losses and validation metrics, a row an epoch.
    n_channels_in_ : int
        Number of channels seen by ``fit``.

    Examples
    --------
    >>> import numpy as np
    >>> from tscl import ContrastiveClassifier, TS2Vec
    >>> rng = np.random.default_rng(0)
    >>> patient = np.repeat(np.arange(8), 6)
    >>> y = np.where(patient % 2, "sick", "well")
    >>> X = rng.normal(size=(48, 1, 40)) + 2 * (y == "sick")[:, None, None]
    >>> pretrained = TS2Vec(dim=8, hidden=8, depth=2, max_epochs=1)
    >>> model = ContrastiveClassifier(pretrained, max_epochs=10, lr=1e-2, random_state=0).fit(X, y, patient=patient)
    >>> model.predict_proba(X).shape, len(model.validation_patients_)
    ((48, 2), 2)
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        label_fraction: float = 1.0,
        validation: float = 0.2,
        calibration: Literal["temperature", "sigmoid", "isotonic"] | None = None,
        freeze: bool = False,
        pooling: str | None = None,
        max_epochs: int = 50,
        patience: int = 10,
        lr: float = 1e-4,
        batch_size: int = 128,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        random_state: Any = None,
        accelerator: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.estimator = estimator
        self.label_fraction = label_fraction
        self.validation = validation
        self.calibration = calibration
        self.freeze = freeze
        self.pooling = pooling
        self.max_epochs = max_epochs
        self.patience = patience
        self.lr = lr
        self.batch_size = batch_size
        self.class_weight = class_weight
        self.random_state = random_state
        self.accelerator = accelerator
        self.verbose = verbose

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of every class.

        Parameters
        ----------
        X : as in :meth:`fit`

        Returns
        -------
        ndarray, shape (n, k), float64
            Columns in the order of ``classes_``.
        """
        data = self._fitted_windows(X)
        if self.calibrator_ is None:
            return self.finetuner_.predict_proba(data)
        return self.calibrator_.predict_proba(self.finetuner_.outputs(data))

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest class of every window, shape (n,); see :meth:`predict_proba`."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _check_settings(self) -> None:
        super()._check_settings()
        if self.calibration not in (None, *METHODS):
            raise ConfigError(f"calibration is {self.calibration!r}: choose one of {list(METHODS)} or None.")
        if self.calibration is not None and not self.validation:
            raise ConfigError("calibration needs validation patients: set validation above 0.")

    def _checked_y(self, y: np.ndarray) -> np.ndarray:
        known = y[~pd.isna(y)]
        check_classification_targets(np.array(known.tolist()) if y.dtype == object else known)
        return y

    def _strata(self, data: WindowDataset) -> np.ndarray:
        assert data.y is not None
        self.classes_ = np.asarray(data.classes)
        return data.y

    def _check_training(self, data: WindowDataset, strata: np.ndarray) -> None:
        if len(np.unique(strata)) < 2:
            raise DataError(
                f"all {len(strata)} labelled training windows have class {data.classes[strata[0]]!r}: a classifier "
                "needs two classes, each in more than the validation patients."
            )

    def _tuner(self, encoder: Any, options: Mapping[str, Any]) -> Any:
        from tscl.evaluation import FineTuner

        weight: Any = self.class_weight
        if weight is not None and weight != "balanced":
            try:
                weight = compute_class_weight(dict(weight), classes=self.classes_, y=self.classes_).tolist()
            except (ValueError, TypeError) as error:
                raise ConfigError(f"class_weight does not fit the classes {self.classes_.tolist()}: {error}") from error
        return FineTuner(encoder, len(self.classes_), class_weight=weight, **options)

    def _finish(self, validation: WindowDataset | None) -> None:
        self.calibrator_ = None
        if self.calibration is not None and validation is not None:
            assert validation.y is not None
            logits = self.finetuner_.outputs(validation)
            self.calibrator_ = Calibration(self.calibration, logits, validation.y, self.classes_)

    def _described(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist()}

    def _write(self, folder: Path) -> None:
        if self.calibrator_ is not None:
            np.savez(folder / CALIBRATION, logits=self.calibrator_.logits, y=self.calibrator_.y)

    def _open(self, folder: Path, fitted: Mapping[str, Any], encoder: Any, options: Mapping[str, Any]) -> None:
        self.classes_, self.calibrator_ = np.asarray(fitted["classes"]), None
        self.finetuner_ = self._tuner(encoder, options)
        if self.calibration is not None:
            try:
                with np.load(folder / CALIBRATION, allow_pickle=False) as arrays:
                    self.calibrator_ = Calibration(self.calibration, arrays["logits"], arrays["y"], self.classes_)
            except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
                raise DataError(f"{folder / CALIBRATION} is missing or damaged ({error}): save it again.") from error
