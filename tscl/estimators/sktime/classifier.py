"""A classifier on embeddings, as sktime has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sktime.classification.base import BaseClassifier

from tscl.estimators.sktime.frames import TAGS, embed_each, fitted, fresh, tiny, whole_series

if TYPE_CHECKING:
    from typing import Self

    from tscl.estimators.base import ContrastiveEstimator


class EmbeddingClassifier(BaseClassifier):
    """Time series classifier: an encoder that learns without labels, and a classifier on its embeddings.

    Series may have unequal lengths and missing values. The encoder learns from the series of ``fit`` and is then kept
    as it is, so the labels reach the classifier only.

    Parameters
    ----------
    estimator : ContrastiveEstimator or None
        As in :class:`PanelEmbedder`.
    classifier : scikit-learn classifier or None
        Takes the embeddings; by default a logistic regression on standardised embeddings. A copy is fitted.
    random_state : int, RandomState or None
        Replaces that of the estimator and of the classifier unless it is None.

    Attributes
    ----------
    estimator_ : ContrastiveEstimator
        The fitted estimator.
    classifier_ : scikit-learn classifier
        The fitted classifier.
    classes_ : ndarray
        The class labels.

    Examples
    --------
    >>> from sktime.datasets import load_unit_test
    >>> from tscl import TS2Vec
    >>> from tscl.estimators.sktime import EmbeddingClassifier
    >>> X, y = load_unit_test(split="train")
    >>> model = TS2Vec(dim=8, hidden=4, depth=1, max_epochs=1)
    >>> EmbeddingClassifier(model, random_state=0).fit(X, y).predict_proba(X).shape
    (20, 2)
    """

    _tags = {
        **TAGS,
        "classifier_type": "feature",
        "X_inner_mtype": ["pd-multiindex", "numpy3D"],
        "y_inner_mtype": "numpy1D",
        "capability:predict_proba": True,
    }

    estimator_: ContrastiveEstimator
    classifier_: Any

    def __init__(
        self, estimator: ContrastiveEstimator | None = None, classifier: Any = None, random_state: Any = None
    ) -> None:
        self.estimator = estimator
        self.classifier = classifier
        self.random_state = random_state
        super().__init__()
        if classifier is not None and not hasattr(classifier, "predict_proba"):
            self.set_tags(**{"capability:predict_proba": False})

    def _fit(self, X: np.ndarray | pd.DataFrame, y: np.ndarray) -> Self:
        self.estimator_ = fitted(self.estimator, self.random_state, whole_series(X))
        classifier = _logistic_regression() if self.classifier is None else self.classifier
        self.classifier_ = fresh(classifier, self.random_state).fit(self._embed(X), y)
        return self

    def _embed(self, X: np.ndarray | pd.DataFrame) -> np.ndarray:
        return np.stack(embed_each(self.estimator_.transform, X))

    def _predict(self, X: np.ndarray | pd.DataFrame) -> np.ndarray:
        return self.classifier_.predict(self._embed(X))

    def _predict_proba(self, X: np.ndarray | pd.DataFrame) -> np.ndarray:
        if not self.get_tag("capability:predict_proba"):
            return super()._predict_proba(X)
        return self.classifier_.predict_proba(self._embed(X))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:  # noqa: ARG003
        """Return settings for sktime's checks: one with and one without probabilities.

        Parameters
        ----------
        parameter_set : str
            There is one set only.
        """
        from sklearn.svm import SVC

        return [{"estimator": tiny()}, {"estimator": tiny(), "classifier": SVC(), "random_state": 0}]


def _logistic_regression() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
