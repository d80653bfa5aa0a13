"""Embeddings as sktime transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sktime.transformations.base import BaseTransformer

from tscl.errors import ConfigError
from tscl.estimators.sktime.frames import (
    TAGS,
    cut_windows,
    embed_each,
    fitted,
    series_index,
    series_numbers,
    tiny,
    whole_series,
)

if TYPE_CHECKING:
    from typing import Self

    from tscl.estimators.base import ContrastiveEstimator


class PanelEmbedder(BaseTransformer):
    """Panel to table: one embedding a series.

    Any panel will do, of unequal lengths and with missing values too. The levels of a hierarchical frame are id levels,
    by their names: with an index ``(patient, trial, window, time)`` :class:`tscl.COMET` contrasts patients and trials.
    The last level before time tells the windows themselves apart; it is an id level only where it is called
    ``"trial"``.

    Parameters
    ----------
    estimator : ContrastiveEstimator or None
        Learns the embedding from all series of ``fit``; by default a :class:`tscl.TS2Vec` of 64 dimensions. A copy is
        fitted. A model that was fitted before goes in as ``sklearn.frozen.FrozenEstimator(model)``, and stays as it is.
    random_state : int, RandomState or None
        Replaces the estimator's own unless it is None.

    Attributes
    ----------
    estimator_ : ContrastiveEstimator
        The fitted estimator.

    Examples
    --------
    >>> import numpy as np
    >>> from tscl import TS2Vec
    >>> from tscl.estimators.sktime import PanelEmbedder
    >>> X = np.random.default_rng(0).normal(size=(12, 2, 30))
    >>> model = TS2Vec(dim=8, hidden=4, depth=1, max_epochs=1)
    >>> PanelEmbedder(model, random_state=0).fit_transform(X).shape
    (12, 8)
    """

    _tags = {
        **TAGS,
        "scitype:transform-input": "Series",
        "scitype:transform-output": "Primitives",
        "scitype:instancewise": False,
        "X_inner_mtype": ["pd-multiindex", "pd_multiindex_hier", "numpy3D"],
        "y_inner_mtype": "None",
        "fit_is_empty": False,
        "capability:missing_values:removes": True,
    }

    estimator_: ContrastiveEstimator

    def __init__(self, estimator: ContrastiveEstimator | None = None, random_state: Any = None) -> None:
        self.estimator = estimator
        self.random_state = random_state
        super().__init__()

    def _fit(self, X: np.ndarray | pd.DataFrame, y: Any = None) -> Self:
        self.estimator_ = fitted(self.estimator, self.random_state, whole_series(X))
        return self

    def _transform(self, X: np.ndarray | pd.DataFrame, y: Any = None) -> pd.DataFrame:
        embedded = np.stack(embed_each(self.estimator_.transform, X))
        return pd.DataFrame(embedded, index=series_index(X), columns=_names(embedded.shape[1]))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:  # noqa: ARG003
        """Return settings for sktime's checks: one of TS2Vec and one of COMET, which uses the levels.

        Parameters
        ----------
        parameter_set : str
            There is one set only.
        """
        from tscl.estimators.comet import COMET

        comet = COMET(dim=4, hidden=4, depth=1, max_epochs=1, batch_size=32, pooling="mean", accelerator="cpu")
        return [{"estimator": tiny()}, {"estimator": comet, "random_state": 0}]


class SeriesEmbedder(BaseTransformer):
    """Series to series: an embedding of every time step, on the same index.

    The encoder learns from windows that are cut out of the series, or out of all series of a panel, and then embeds
    each series in one piece. The levels of a panel or a hierarchical frame are id levels by their names, as the windows
    of one series belong together. Most encoders, the default one too, see later steps as well: for forecasting take a
    causal one, such as :class:`tscl.encoders.CausalConvEncoder`.

    Parameters
    ----------
    estimator : ContrastiveEstimator or None
        As in :class:`PanelEmbedder`.
    window_length : int
        Number of time steps of a window that the encoder learns from; a shorter series is one window.
    random_state : int, RandomState or None
        Replaces the estimator's own unless it is None.

    Attributes
    ----------
    estimator_ : ContrastiveEstimator
        The fitted estimator.

    Raises
    ------
    ConfigError
        When ``window_length`` is below 2, or the encoder does not give one embedding a time step.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from tscl import TS2Vec
    >>> from tscl.estimators.sktime import SeriesEmbedder
    >>> model = TS2Vec(dim=8, hidden=4, depth=1, max_epochs=1)
    >>> SeriesEmbedder(model, window_length=24, random_state=0).fit_transform(load_airline()).shape
    (144, 8)
    """

    _tags = {
        **TAGS,
        "scitype:transform-input": "Series",
        "scitype:transform-output": "Series",
        "scitype:instancewise": False,
        "X_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "y_inner_mtype": "None",
        "fit_is_empty": False,
        "transform-returns-same-time-index": True,
        "capability:missing_values:removes": True,
    }

    estimator_: ContrastiveEstimator

    def __init__(
        self, estimator: ContrastiveEstimator | None = None, window_length: int = 100, random_state: Any = None
    ) -> None:
        self.estimator = estimator
        self.window_length = window_length
        self.random_state = random_state
        super().__init__()

    def _fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        if self.window_length < 2:
            raise ConfigError(f"window_length is {self.window_length}: a window needs at least 2 time steps.")
        self.estimator_ = fitted(self.estimator, self.random_state, cut_windows(X, self.window_length))
        return self

    def _transform(self, X: pd.DataFrame, y: Any = None) -> pd.DataFrame:
        embedded = embed_each(self.estimator_.encode, X)
        series = series_numbers(X)
        for z, n_times in zip(embedded, np.bincount(series), strict=True):
            if z.shape[1] != n_times:
                raise ConfigError(
                    f"{type(self.estimator_.encoder_).__name__} gave {z.shape[1]} embeddings for {n_times} time steps: "
                    "SeriesEmbedder needs an encoder that gives one a step; PanelEmbedder takes any."
                )
        steps = np.empty((len(X), len(embedded[0])), dtype=np.float32)
        steps[np.argsort(series, kind="stable")] = np.concatenate(embedded, axis=1).T
        return pd.DataFrame(steps, index=X.index, columns=_names(steps.shape[1]))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:  # noqa: ARG003
        """Return settings for sktime's checks.

        Parameters
        ----------
        parameter_set : str
            There is one set only.
        """
        return [{"estimator": tiny()}, {"estimator": tiny(averaging="ema"), "window_length": 8, "random_state": 0}]


def _names(dim: int) -> list[str]:
    return [f"embedding_{i:03d}" for i in range(dim)]
