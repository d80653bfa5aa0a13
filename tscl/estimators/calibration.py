"""Probabilities that mean what they say, from logits of windows that were not trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from tscl.errors import DataError

METHODS = ("temperature", "sigmoid", "isotonic")
SMALLEST = 1e-12


class TemperatureScaling:
    """Logits divided by one temperature that maximises the likelihood (Guo et al., ICML 2017).

    Parameters
    ----------
    logits : ndarray, shape (n, k), float
    y : ndarray, shape (n,), int
        Class indices.

    Attributes
    ----------
    temperature_ : float
        Above 1 where the logits were too sure; between exp(-5) and exp(5).
    """

    def __init__(self, logits: np.ndarray, y: np.ndarray) -> None:
        def loss(log_temperature: float) -> float:
            return -log_softmax(logits / np.exp(log_temperature), axis=1)[np.arange(len(y)), y].mean()

        self.temperature_ = float(np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded").x))

    def predict_proba(self, logits: np.ndarray) -> np.ndarray:
        """Return probabilities, shape (n, k), float64."""
        return softmax(logits / self.temperature_, axis=1)


class LogOdds(ClassifierMixin, BaseEstimator):
    """A classifier whose input are logits (n, k): its decision is the log odds of every class against the others."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> LogOdds:
        """Take the classes."""
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Return log odds, shape (n, k), or (n,) of the second of two classes."""
        odds = logit(np.clip(softmax(X, axis=1), SMALLEST, 1 - SMALLEST))
        return odds[:, 1] if X.shape[1] == 2 else odds

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the class with the highest logit, shape (n,)."""
        return self.classes_[X.argmax(axis=1)]


class Calibration:
    """A calibration and what it was fitted on.

    Parameters
    ----------
    method : {"temperature", "sigmoid", "isotonic"}
    logits : ndarray, shape (n, k), float
        Of validation windows.
    y : ndarray, shape (n,), int
        Their class indices.
    classes : ndarray, shape (k,)
        For messages.

    Attributes
    ----------
    model : TemperatureScaling or CalibratedClassifierCV

    Raises
    ------
    DataError
        When a class has no validation window.
    """

    def __init__(self, method: str, logits: np.ndarray, y: np.ndarray, classes: np.ndarray) -> None:
        missing = np.setdiff1d(np.arange(len(classes)), y)
        if len(missing):
            raise DataError(
                f"no validation window has class {classes.tolist()[missing[0]]!r}, so its probability cannot be "
                "calibrated: add patients of that class, raise validation, or set calibration=None."
            )
        self.logits, self.y = logits, y
        self.model: Any
        if method == "temperature":
            self.model = TemperatureScaling(logits, y)
        else:
            every = np.arange(len(y))
            frozen = FrozenEstimator(LogOdds().fit(logits, y))
            self.model = CalibratedClassifierCV(frozen, method=method, cv=[(every, every)], ensemble=False)
            self.model.fit(logits, y)

    def predict_proba(self, logits: np.ndarray) -> np.ndarray:
        """Return probabilities, shape (n, k), float64."""
        return self.model.predict_proba(logits)
