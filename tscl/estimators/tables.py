"""Two-dimensional input, a univariate series a row, as scikit-learn wants it checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from tscl.errors import DataError


def is_table(X: Any) -> bool:
    """Say whether ``X`` is an array, frame or sparse matrix of two dimensions, or equally long lists of numbers."""
    if issparse(X):
        return True
    if isinstance(X, (list, tuple)):
        return all(isinstance(row, (list, tuple)) and np.ndim(row[:1]) == 1 for row in X) and len(set(map(len, X))) == 1
    return hasattr(X, "__array__") and (X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim) == 2


class WindowEstimator(BaseEstimator):
    """An estimator whose rows are windows: tables are checked by scikit-learn, with ``n_features_in_`` (times).

    Windows of three dimensions may have any length, so for them there is no ``n_features_in_``.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags

    def _windows(self, X: Any, *, reset: bool) -> Any:
        """Return a checked table as windows (n, 1, T) float32, and anything else as it is.

        Raises
        ------
        DataError
            When a table is no matrix of finite or missing real numbers, or has not the columns of ``fit``.
        TypeError
            When it is sparse, or holds objects that are no numbers.
        """
        if not is_table(X):
            if reset:
                for name in ("n_features_in_", "feature_names_in_"):
                    self.__dict__.pop(name, None)
            return X
        if isinstance(X, torch.Tensor):
            X = X.detach().cpu().numpy()
        try:
            table = validate_data(self, X, reset=reset, dtype=np.float32, ensure_all_finite="allow-nan")
        except ValueError as error:
            raise DataError(" ".join(str(error).split())) from error
        return table[:, None]
