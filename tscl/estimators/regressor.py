"""A fine-tuned regressor on top of a contrastive estimator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import RegressorMixin

from tscl.data import WindowDataset
from tscl.errors import DataError
from tscl.estimators.supervised import SupervisedEstimator

QUARTILES = (0.25, 0.5, 0.75)


class ContrastiveRegressor(RegressorMixin, SupervisedEstimator):
    """Predict a number for every window: a pretrained encoder is trained on with a head, by mean squared error.

    Some patients are set aside, and training stops when the error of their windows no longer falls, so they do not
    tell how good the regressor is. Labels are standardised inside.

    Parameters
    ----------
    estimator, label_fraction, validation, freeze, pooling, max_epochs, patience, lr, batch_size, random_state
        As in :class:`tscl.ContrastiveClassifier`; quartiles of the labels stand for the classes where patients are
        drawn.
    accelerator, verbose
        As in :class:`tscl.ContrastiveClassifier`.

    Attributes
    ----------
    finetuner_ : tscl.evaluation.RegressionFineTuner
        Its ``module_`` holds the trained ``encoder`` and ``head``.
    estimator_, encoder_, validation_patients_, history_, n_channels_in_
        As in :class:`tscl.ContrastiveClassifier`; losses are of standardised labels.

    Examples
    --------
    >>> import numpy as np
    >>> from tscl import ContrastiveRegressor, TS2Vec
    >>> rng = np.random.default_rng(0)
    >>> patient, age = np.repeat(np.arange(8), 6), np.repeat(np.linspace(20, 80, 8), 6)
    >>> X = rng.normal(size=(48, 1, 40)) + age[:, None, None] / 20
    >>> pretrained = TS2Vec(dim=8, hidden=8, depth=2, max_epochs=1)
    >>> model = ContrastiveRegressor(pretrained, max_epochs=10, lr=1e-2, random_state=0).fit(X, age, patient=patient)
    >>> model.predict(X).shape
    (48,)
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        label_fraction: float = 1.0,
        validation: float = 0.2,
        freeze: bool = False,
        pooling: str | None = None,
        max_epochs: int = 50,
        patience: int = 10,
        lr: float = 1e-4,
        batch_size: int = 128,
        random_state: Any = None,
        accelerator: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.estimator = estimator
        self.label_fraction = label_fraction
        self.validation = validation
        self.freeze = freeze
        self.pooling = pooling
        self.max_epochs = max_epochs
        self.patience = patience
        self.lr = lr
        self.batch_size = batch_size
        self.random_state = random_state
        self.accelerator = accelerator
        self.verbose = verbose

    def predict(self, X: Any) -> np.ndarray:
        """Predict the number of every window.

        Parameters
        ----------
        X : as in :meth:`fit`

        Returns
        -------
        ndarray, shape (n,), float64
            In the unit of the labels.
        """
        data = self._fitted_windows(X)
        return self.finetuner_.predict(data)

    def _checked_y(self, y: np.ndarray) -> np.ndarray:
        return pd.to_numeric(pd.Series(y)).to_numpy(dtype=np.float64, na_value=np.nan)

    def _strata(self, data: WindowDataset) -> np.ndarray:
        y = self._checked_y(data.metadata[data.target])
        known = ~np.isnan(y)
        if np.isinf(y).any():
            raise DataError(f"y has infinite values for {int(np.isinf(y).sum())} windows: leave these windows out.")
        strata = np.full(len(y), -1)
        if known.any():
            strata[known] = np.searchsorted(np.quantile(y[known], QUARTILES), y[known])
        return strata

    def _tuner(self, encoder: Any, options: Mapping[str, Any]) -> Any:
        from tscl.evaluation import RegressionFineTuner

        return RegressionFineTuner(encoder, **options)

    def _described(self) -> dict[str, Any]:
        return {"mean": self.finetuner_.mean_, "scale": self.finetuner_.scale_}

    def _open(self, folder: Path, fitted: Mapping[str, Any], encoder: Any, options: Mapping[str, Any]) -> None:
        self.finetuner_ = self._tuner(encoder, options)
        self.finetuner_.mean_, self.finetuner_.scale_ = float(fitted["mean"]), float(fitted["scale"])
