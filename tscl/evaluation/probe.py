"""Probes: small classifiers on frozen embeddings, blind to the encoder (COMET's partial fine-tuning)."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from tscl.errors import ConfigError, DataError
from tscl.evaluation.metrics import METRICS, classification_metrics

if TYPE_CHECKING:
    from typing import Self

    from sklearn.pipeline import Pipeline

logger = logging.getLogger(__name__)

C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def check_labels(H: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features and labels without the unlabelled rows (-1), and which rows were kept.

    Raises
    ------
    DataError
        When shapes disagree, features are not finite, no row is labelled, or all labels are the same.
    """
    H, y = np.asarray(H), np.asarray(y)
    if H.ndim != 2 or y.shape != (len(H),):
        raise DataError(f"features have shape {H.shape} and labels {y.shape}, expected (n, D) and (n,).")
    known = y >= 0
    if not known.any():
        raise DataError("no training window has a label: check the target column.")
    if not known.all():
        logger.info("%d of %d training windows have no label and are left out", (~known).sum(), len(y))
    H, y = H[known], y[known]
    if len(np.unique(y)) < 2:
        raise DataError(f"all {len(y)} labelled training windows have class {y[0]}: a classifier needs two classes.")
    if not np.isfinite(H).all():
        raise DataError(f"{(~np.isfinite(H)).any(axis=1).sum()} rows of features contain NaN or infinity.")
    return H, y, known


class PenaltyProbe(ABC):
    """Base of the probes whose penalty C is chosen on validation patients or by cross-validation.

    Parameters
    ----------
    C : float, optional
        Inverse strength of the penalty; chosen among ``grid`` by default.
    choose_by : str
        The metric that decides on C; the strongest penalty wins a tie.
    class_weight : "balanced" or None
        Whether rare classes count more, see scikit-learn's ``LogisticRegression`` and ``SVC``.
    """

    grid: ClassVar[tuple[float, ...]]
    undecided: ClassVar[float]
    """What C is where it cannot be chosen."""

    def __init__(self, C: float | None, choose_by: str, class_weight: Literal["balanced"] | None) -> None:
        if choose_by not in METRICS:
            raise ConfigError(f"choose_by is {choose_by!r}: choose among {list(METRICS)}.")
        self.C = C
        self.choose_by = choose_by
        self.class_weight = class_weight

    def fit(
        self,
        H: np.ndarray,
        y: np.ndarray,
        *,
        n_classes: int | None = None,
        groups: np.ndarray | None = None,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Self:
        """Fit on embeddings.

        Parameters
        ----------
        H : ndarray, shape (n, D), float
            Embeddings.
        y : ndarray, shape (n,), int
            Class indices; rows with -1 are left out.
        n_classes : int, optional
            Number of columns that :meth:`predict_proba` gives; the highest label plus one by default.
        groups : ndarray, shape (n,), optional
            Patient of each window, for choosing C without validation patients.
        validation : (ndarray (m, D), ndarray (m,)), optional
            Embeddings and labels of the validation patients, for choosing C; never trained on.

        Raises
        ------
        DataError
            When shapes disagree, features are not finite, no row is labelled, or all labels are the same.
        """
        H, y, known = check_labels(H, y)
        self.n_classes_ = int(n_classes or y.max() + 1)
        groups = None if groups is None else np.asarray(groups)[known]
        H, y, groups = self._limited(H, y, groups)
        self.C_ = self.C if self.C is not None else self._choose(H, y, groups, validation)
        self.pipeline_ = self._fit(H, y, self.C_)
        return self

    def predict_proba(self, H: np.ndarray) -> np.ndarray:
        """Return probabilities, shape (n, n_classes), float64; 0 for classes that were absent in training."""
        return self._proba(self.pipeline_, H)

    @abstractmethod
    def _classifier(self, C: float) -> Pipeline:
        """Return the unfitted pipeline."""

    @abstractmethod
    def _present(self, pipeline: Pipeline, H: np.ndarray) -> np.ndarray:
        """Return probabilities of the classes that were present in training."""

    def _limited(
        self, H: np.ndarray, y: np.ndarray, groups: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return the rows that are fitted on: all, unless a probe needs fewer."""
        return H, y, groups

    def _fit(self, H: np.ndarray, y: np.ndarray, C: float) -> Pipeline:
        return self._classifier(C).fit(H.astype(np.float64), y)

    def _proba(self, pipeline: Pipeline, H: np.ndarray) -> np.ndarray:
        proba = np.zeros((len(H), self.n_classes_))
        proba[:, pipeline.classes_] = self._present(pipeline, np.asarray(H, dtype=np.float64))
        return proba

    def _choose(
        self,
        H: np.ndarray,
        y: np.ndarray,
        groups: np.ndarray | None,
        validation: tuple[np.ndarray, np.ndarray] | None,
    ) -> float:
        if validation is not None:
            H_val, y_val = np.asarray(validation[0]), np.asarray(validation[1])
            known = y_val >= 0
            if len(np.unique(y_val[known])) < 2:
                logger.warning("validation windows have fewer than two classes: C is set to %g", self.undecided)
                return self.undecided
            proba = {C: self._proba(self._fit(H, y, C), H_val[known]) for C in self.grid}
            y = y_val[known]
        else:
            folds = self._folds(H, y, groups)
            if not folds:
                logger.warning(
                    "no two groups of patients with both classes to choose C with: C is set to %g", self.undecided
                )
                return self.undecided
            held = np.concatenate([test for _, test in folds])
            proba = {
                C: np.concatenate([self._proba(self._fit(H[a], y[a], C), H[b]) for a, b in folds]) for C in self.grid
            }
            y = y[held]
        scores = [classification_metrics(y, proba[C], self.n_classes_)[self.choose_by] for C in self.grid]
        return self.undecided if np.isnan(scores).all() else self.grid[int(np.nanargmax(scores))]

    @staticmethod
    def _folds(H: np.ndarray, y: np.ndarray, groups: np.ndarray | None) -> list[tuple[np.ndarray, np.ndarray]]:
        """Folds over groups (over windows without any) whose training side has at least two classes."""
        from sklearn.model_selection import StratifiedGroupKFold

        groups = np.arange(len(y)) if groups is None else groups
        per_class = [len(np.unique(groups[y == k])) for k in np.unique(y)]
        n_splits = min(5, len(np.unique(groups)), max(per_class))
        if n_splits < 2:
            return []
        folds = StratifiedGroupKFold(n_splits, shuffle=True, random_state=0).split(H, y, groups)
        return [(a, b) for a, b in folds if len(np.unique(y[a])) > 1 and len(b)]


class LinearProbe(PenaltyProbe):
    """Standardisation and logistic regression on frozen embeddings.

    Parameters
    ----------
    C : float, optional
        Inverse strength of the L2 penalty. By default chosen from 1e-4 ... 10 on the validation patients, or, where
        there are none, by cross-validation over groups of patients inside the training set.
    choose_by : str
        The metric that decides on C; the strongest penalty wins a tie. AUROC does not see when a strong penalty makes
        every prediction the commonest class.
    class_weight : "balanced" or None
        Whether rare classes count more, see scikit-learn's ``LogisticRegression``.
    max_iter : int
        Iterations of the solver.

    Attributes
    ----------
    C_ : float
        The C that was used.
    pipeline_ : sklearn.pipeline.Pipeline
        The fitted pipeline.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], 20)
    >>> H = rng.normal(size=(40, 3)) + 4 * y[:, None]
    >>> probe = LinearProbe().fit(H, y, groups=np.arange(40) // 4)
    >>> bool((probe.predict_proba(H).argmax(axis=1) == y).mean() > 0.9)
    True
    """

    grid = C_GRID
    undecided = 1.0

    def __init__(
        self,
        C: float | None = None,
        *,
        choose_by: str = "f1",
        class_weight: Literal["balanced"] | None = None,
        max_iter: int = 1000,
    ) -> None:
        super().__init__(C, choose_by, class_weight)
        self.max_iter = max_iter

    def _classifier(self, C: float) -> Pipeline:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        classifier = LogisticRegression(C=C, class_weight=self.class_weight, max_iter=self.max_iter)
        return make_pipeline(StandardScaler(), classifier)

    def _present(self, pipeline: Pipeline, H: np.ndarray) -> np.ndarray:
        return pipeline.predict_proba(H)


class SVMProbe(PenaltyProbe):
    """Support vector machine with a Gaussian kernel on frozen embeddings: the protocol of TS2Vec (section 4.1).

    The kernel's width is scikit-learn's ``gamma="scale"``, embeddings are not standardised. C is chosen from 1e-4 ...
    1e4 and infinity by accuracy, on the validation patients or by five-fold cross-validation over groups of patients;
    it is infinite (no slack) without validation patients where the training set has fewer than 50 windows or fewer
    than 5 a class. Of more than ``max_windows`` a stratified part is trained on.

    Parameters
    ----------
    C : float, optional
        Inverse strength of the penalty; chosen by default.
    class_weight : "balanced" or None
        Whether rare classes count more, see scikit-learn's ``SVC``.
    max_windows : int
        Most training windows.

    Attributes
    ----------
    C_ : float
        The C that was used.
    pipeline_ : sklearn.pipeline.Pipeline
        The fitted machine.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1], 20)
    >>> probe = SVMProbe().fit(rng.normal(size=(40, 3)) + 4 * y[:, None], y)
    >>> probe.C_
    inf
    """

    grid = (*(10.0**power for power in range(-4, 5)), np.inf)
    undecided = np.inf

    def __init__(
        self, C: float | None = None, *, class_weight: Literal["balanced"] | None = None, max_windows: int = 10_000
    ) -> None:
        super().__init__(C, "accuracy", class_weight)
        self.max_windows = max_windows

    def predict_proba(self, H: np.ndarray) -> np.ndarray:
        """Return scores of the classes, shape (n, n_classes), float64; 0 for classes that were absent in training.

        They sum to one and order windows as the machine's decision function does, and the highest is the machine's
        prediction, but they are no calibrated probabilities.
        """
        return super().predict_proba(H)

    def _classifier(self, C: float) -> Pipeline:
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import SVC

        return make_pipeline(SVC(C=C, class_weight=self.class_weight, break_ties=True))

    def _present(self, pipeline: Pipeline, H: np.ndarray) -> np.ndarray:
        from scipy.special import expit, softmax

        decision = pipeline.decision_function(H)
        if decision.ndim == 1:
            return np.stack([expit(-decision), expit(decision)], axis=1)
        return softmax(decision, axis=1)

    def _limited(
        self, H: np.ndarray, y: np.ndarray, groups: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        if len(y) <= self.max_windows:
            return H, y, groups
        from sklearn.model_selection import train_test_split

        rows, _ = train_test_split(np.arange(len(y)), train_size=self.max_windows, random_state=0, stratify=y)
        rows = np.sort(rows)
        return H[rows], y[rows], None if groups is None else groups[rows]

    def _choose(
        self,
        H: np.ndarray,
        y: np.ndarray,
        groups: np.ndarray | None,
        validation: tuple[np.ndarray, np.ndarray] | None,
    ) -> float:
        if validation is None and (len(y) < 50 or len(y) < 5 * len(np.unique(y))):
            return np.inf
        return super()._choose(H, y, groups, validation)


class KNNProbe:
    """Vote of the nearest training windows: a probe with nothing to train.

    Parameters
    ----------
    k : int
        Number of neighbours; at most as many as there are training windows are used.
    metric : {"cosine", "euclidean"}
        Cosine similarity, or the Euclidean distance of standardised embeddings (with ``k=1`` TS2Vec's 1-NN protocol).

    Raises
    ------
    ConfigError
        For another metric.
    """

    def __init__(self, k: int = 20, *, metric: Literal["cosine", "euclidean"] = "cosine") -> None:
        if metric not in ("cosine", "euclidean"):
            raise ConfigError(f"metric is {metric!r}: choose cosine or euclidean.")
        self.k = k
        self.metric = metric

    def fit(self, H: np.ndarray, y: np.ndarray, *, n_classes: int | None = None) -> KNNProbe:
        """Remember embeddings (n, D) and class indices (n,); rows with label -1 are left out.

        Raises
        ------
        DataError
            When shapes disagree, features are not finite, no row is labelled, or all labels are the same.
        """
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        H, y, _ = check_labels(H, y)
        self.n_classes_ = int(n_classes or y.max() + 1)
        voters = KNeighborsClassifier(min(self.k, len(y)), metric=self.metric)
        steps = [voters] if self.metric == "cosine" else [StandardScaler(), voters]
        self.classifier_ = make_pipeline(*steps).fit(H, y)
        return self

    def predict_proba(self, H: np.ndarray) -> np.ndarray:
        """Return the share of neighbours of each class, shape (n, n_classes), float64."""
        proba = np.zeros((len(H), self.n_classes_))
        proba[:, self.classifier_.classes_] = self.classifier_.predict_proba(H)
        return proba
