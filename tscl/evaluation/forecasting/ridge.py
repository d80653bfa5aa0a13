"""Ridge regression for every penalty from one decomposition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tscl.errors import ConfigError, DataError

ALPHAS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
"""The penalties that TS2Vec, CoST and AutoTCL choose among."""

CELLS = 4_000_000
"""Most numbers of a block of targets that is worked on at once."""


class Columns(Protocol):
    """A table whose columns are asked for in blocks: an array, or what computes ``table[:, a:b]`` when it is asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return the block ``[:, a:b]``."""


class RidgePath:
    """Ridge regression with an unpenalised intercept, for all penalties from one eigendecomposition.

    With centred features ``X``, targets ``Y`` and penalty ``a`` the coefficients are ``inv(X' X + a I) X' Y``, which is
    ``V inv(S + a I) V' X' Y`` where ``V S V' = X' X``; with fewer rows than features ``X X'`` is decomposed instead.
    Another penalty is another diagonal, so trying one costs a prediction. Everything is computed in float64, and
    targets are read in blocks of columns, so that they need not fit into memory.

    Parameters
    ----------
    standardise : bool
        Divide every feature by its standard deviation over the training rows (constant ones by 1), so that the penalty
        weighs all alike.

    Attributes
    ----------
    alpha_ : float
        The penalty that was chosen.
    scores_ : dict of float to float
        RMSE + MAE on the validation rows of every penalty; empty without validation rows.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.arange(12.0)[:, None]
    >>> model = RidgePath().fit(X[:8], 2 * X[:8] + 1, X[8:], 2 * X[8:] + 1)
    >>> model.alpha_, model.predict(np.array([[20.0]])).round(1).tolist()
    (0.1, [[40.9]])
    """

    alpha_: float
    scores_: dict[float, float]

    def __init__(self, standardise: bool = False) -> None:
        self.standardise = standardise

    def fit(
        self,
        X: np.ndarray,
        Y: Columns,
        X_val: np.ndarray | None = None,
        Y_val: Columns | None = None,
        alphas: Sequence[float] = ALPHAS,
    ) -> RidgePath:
        """Decompose, try every penalty on the validation rows, and keep the best.

        Parameters
        ----------
        X : ndarray, shape (n, p)
            Features of the training rows.
        Y : array-like, shape (n, q)
            Their targets: an array, or an object with ``shape`` that returns blocks of columns ``Y[:, a:b]``.
        X_val, Y_val : optional, shapes (m, p) and (m, q)
            The rows that choose the penalty: the one with the smallest RMSE + MAE over all of their targets (the first
            of equals). Without them there can be one penalty only.
        alphas : sequence of float
            The penalties, each above 0.

        Returns
        -------
        RidgePath
            Itself.

        Raises
        ------
        ConfigError
            For a penalty that is not above 0, or several without validation rows.
        DataError
            When shapes disagree, there is no row, or a feature or target is not finite.
        """
        penalties = [float(alpha) for alpha in alphas]
        if not penalties or not all(0 < alpha < np.inf for alpha in penalties):
            raise ConfigError(f"the penalties of a ridge are {penalties}: give one at least, each above 0.")
        if X_val is None and len(penalties) > 1:
            raise ConfigError(
                f"{len(penalties)} penalties but no validation rows to choose by: pass X_val and Y_val, or one alpha."
            )
        X = _features(X, Y, "training")
        self._mean = X.mean(axis=0)
        self._scale = np.ones(X.shape[1])
        if self.standardise:
            spread = X.std(axis=0)
            self._scale = np.where(spread > 0, spread, 1.0)
        left = self._decompose((X - self._mean) / self._scale)
        blocks = _blocks(Y.shape[1], max(len(X), 0 if X_val is None else len(X_val)))
        self._targets_mean = np.empty(Y.shape[1])
        self._projected = np.empty((left.shape[1], Y.shape[1]))
        for block in blocks:
            y = _block(Y, block, "training")
            self._targets_mean[block] = y.mean(axis=0)
            self._projected[:, block] = left.T @ (y - self._targets_mean[block])
        if X_val is None or Y_val is None:
            self.scores_, self.alpha_ = {}, penalties[0]
        else:
            self.scores_ = self._score(_features(X_val, Y_val, "validation"), Y_val, penalties, blocks)
            self.alpha_ = min(self.scores_, key=self.scores_.__getitem__)
        return self

    def _decompose(self, X: np.ndarray) -> np.ndarray:
        """Set what rotates features and its spectrum; return what projects targets, shape (n, rank)."""
        wide = len(X) < X.shape[1]
        spectrum, basis = np.linalg.eigh(X @ X.T if wide else X.T @ X)
        self._spectrum = spectrum.clip(min=0)
        self._basis = X.T @ basis if wide else basis
        return basis if wide else X @ basis

    def _score(
        self, X: np.ndarray, Y: Columns, penalties: Sequence[float], blocks: Sequence[slice]
    ) -> dict[float, float]:
        rotated = self._rotate(X)
        squared, absolute = np.zeros(len(penalties)), np.zeros(len(penalties))
        for block in blocks:
            y = _block(Y, block, "validation") - self._targets_mean[block]
            for number, alpha in enumerate(penalties):
                error = (rotated / (self._spectrum + alpha)) @ self._projected[:, block]
                error -= y
                squared[number] += np.vdot(error, error)
                absolute[number] += np.abs(error, out=error).sum()
        count = len(X) * Y.shape[1]
        scores = np.sqrt(squared / count) + absolute / count
        return dict(zip(penalties, scores.tolist(), strict=True))

    def _rotate(self, X: np.ndarray) -> np.ndarray:
        return ((X - self._mean) / self._scale) @ self._basis

    def predict(self, X: np.ndarray, alpha: float | None = None) -> np.ndarray:
        """Predict the targets of rows.

        Parameters
        ----------
        X : ndarray, shape (m, p)
            Features; a row with NaN gets NaN.
        alpha : float, optional
            The penalty; the chosen one by default.

        Returns
        -------
        ndarray, shape (m, q), float64
        """
        shrunk = self._rotate(np.asarray(X, dtype=np.float64)) / (self._spectrum + (alpha or self.alpha_))
        return shrunk @ self._projected + self._targets_mean

    def coefficients(self, alpha: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the coefficients of the features as they were given, and the intercepts.

        Parameters
        ----------
        alpha : float, optional
            The penalty; the chosen one by default.

        Returns
        -------
        ndarray, shape (p, q), and ndarray, shape (q,), float64
        """
        inverse = 1 / (self._spectrum + (alpha or self.alpha_))
        weights = (self._basis * inverse) @ self._projected / self._scale[:, None]
        return weights, self._targets_mean - self._mean @ weights


def _features(X: np.ndarray, Y: Columns, what: str) -> np.ndarray:
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or len(Y.shape) != 2 or len(X) != Y.shape[0]:
        raise DataError(
            f"{what} features of shape {X.shape} and targets of shape {tuple(Y.shape)}: they must be (rows, features) "
            "and (rows, targets)."
        )
    if not len(X):
        raise DataError(f"there is no {what} row to fit a ridge with: use a longer part, or a shorter horizon.")
    if not np.isfinite(X).all():
        raise DataError(f"{what} features are not finite: leave rows with missing values out.")
    return X


def _blocks(n_columns: int, n_rows: int) -> list[slice]:
    size = max(1, CELLS // n_rows)
    return [slice(start, min(start + size, n_columns)) for start in range(0, n_columns, size)]


def _block(Y: Columns, block: slice, what: str) -> np.ndarray:
    y = np.asarray(Y[:, block], dtype=np.float64)
    if not np.isfinite(y).all():
        raise DataError(f"{what} targets are not finite: leave rows with missing values out.")
    return y
