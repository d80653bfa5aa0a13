"""How strange is the newest step? The streaming protocol of TS2Vec (Yue et al., AAAI 2022, section 4.3)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from tscl.errors import ConfigError, DataError
from tscl.evaluation.series_embedding import embed_series

LOCAL = 21
"""Steps of the local average: Z of the paper."""

BETA = 4.0
"""Standard deviations from the mean of the history to the threshold: beta of the paper."""


def anomaly_scores(
    encoder: nn.Module,
    x: np.ndarray,
    *,
    context: int = 200,
    method: str = "auto",
    n_variables: int | None = None,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Score every step of a series by what its own value adds to its embedding.

    The window that ends at step t is embedded twice, once with its last step masked behind the encoder's stem; the
    score is the L1 distance between the two embeddings of that step (TS2Vec, section 4.3). Nothing after t is used.
    A causal encoder does both for all steps in one pass each. All embeddings are held at once: 8 T D bytes.

    Parameters
    ----------
    encoder : nn.Module
        ``encoder(x (B, C, T'), mask=(B, T')) -> (B, D, T')``, trained on series that are scaled like ``x``. It need
        not be causal.
    x : ndarray, shape (C, T), float
        The series; NaN marks missing values.
    context : int
        Steps before the scored one that the encoder sees; in one pass it sees its receptive field.
    method : {"auto", "one_pass", "sliding"}
        See :func:`embed_series`.
    n_variables : int, optional
        The first rows of ``x`` are measured, the others (such as the calendar) always known; all are measured by
        default.
    batch_size : int
        Windows a batch.
    device : torch.device or str, optional
        Where to compute; the encoder's own device by default.
    progress : bool
        Show progress bars.

    Returns
    -------
    ndarray, shape (T,), float64
        NaN where the encoder does not see the step: every variable is missing, or one that had values earlier in the
        window (for a causal encoder: in the series). The first ``context`` scores come from shorter windows.

    Raises
    ------
    DataError
        When ``x`` has not two axes, or is not longer than the context.
    ConfigError
        When the encoder ignores the mask, or as :func:`embed_series` says.

    Examples
    --------
    >>> import numpy as np
    >>> from tscl.encoders import DilatedConvEncoder
    >>> x = np.sin(np.arange(100.0) / 5)[None]
    >>> anomaly_scores(DilatedConvEncoder(1, dim=8, hidden=8, depth=2), x, context=30).shape
    (100,)
    """
    x = np.asarray(x, dtype=np.float32)
    if x.ndim != 2:
        raise DataError(f"the series has shape {x.shape}, expected (channels, times).")
    if x.shape[1] <= context:
        raise DataError(
            f"the series has {x.shape[1]} steps, not more than the context of {context}: use a shorter context or a "
            "longer series."
        )
    seen, masked = (
        embed_series(
            encoder,
            x,
            context=context,
            method=method,
            mask_last=mask_last,
            batch_size=batch_size,
            device=device,
            progress=progress,
        )
        for mask_last in (False, True)
    )
    scores = np.abs(seen - masked).sum(axis=1, dtype=np.float64)
    if not scores.any():
        raise ConfigError(
            f"{type(encoder).__name__} gives the same embedding with and without its last step masked: use an encoder "
            "that applies the mask."
        )
    missing = np.isnan(x)
    if getattr(encoder, "causal", False):
        had_values = np.logical_or.accumulate(~missing, axis=1)
    else:
        before = np.pad(~missing, ((0, 0), (context, 0)))
        had_values = np.logical_or.reduce(sliding_window_view(before, context + 1, axis=1), axis=2)
    unseen = (missing & had_values).any(axis=0) | missing[:n_variables].all(axis=0)
    scores[unseen] = np.nan
    return scores


def adjusted_scores(scores: np.ndarray, window: int = LOCAL) -> np.ndarray:
    """Divide every score by the mean of the scores before it, against a slow drift (TS2Vec, section 4.3).

    Parameters
    ----------
    scores : ndarray, shape (T,), float
        At least 0; NaN where there is none.
    window : int
        Steps of the local mean, Z; 0 returns the scores as they are.

    Returns
    -------
    ndarray, shape (T,), float64
        ``score / mean of the Z scores before - 1``. NaN where the score is, and where fewer than half of the Z scores
        before are known, so at the beginning. After nothing but zeros, infinity, or 0 where the score is 0 too.

    Raises
    ------
    ConfigError
        For a negative window.
    """
    scores = _series(scores, "scores")
    if window < 0:
        raise ConfigError(f"window is {window}: give the steps of the local mean, or 0 for none.")
    if window == 0:
        return scores.copy()
    before = sliding_window_view(np.concatenate([np.full(window, np.nan), scores[:-1]]), window)
    known = (~np.isnan(before)).sum(axis=1)
    local = np.nansum(before, axis=1) / np.where(2 * known >= window, known, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        adjusted = scores / local - 1
    adjusted[(scores == 0) & (local == 0)] = 0.0
    return adjusted


def detect(
    scores: np.ndarray, history: slice, *, window: int = LOCAL, beta: float = BETA, refractory: int = 0
) -> np.ndarray:
    """Raise an alarm where the adjusted score is above ``mu + beta * sigma`` of the history (TS2Vec, section 4.3).

    Parameters
    ----------
    scores : ndarray, shape (T,), float
        Of :func:`anomaly_scores`, or of anything else that is 0 where nothing is strange; NaN is never an alarm.
    history : slice
        Steps whose adjusted scores give mean mu and standard deviation sigma, such as the training part. Anomalies in
        it are not left out; infinite scores are.
    window : int
        See :func:`adjusted_scores`.
    beta : float
        How many standard deviations above the mean.
    refractory : int
        Steps after an alarm within which no other is raised. The authors' evaluation uses the tolerated delay.

    Returns
    -------
    ndarray, shape (T,), bool

    Raises
    ------
    DataError
        When the history has no adjusted score.
    ConfigError
        For a negative window or refractory.

    Examples
    --------
    >>> import numpy as np
    >>> scores = np.tile([1.0, 1.1, 0.9], 40)
    >>> scores[100:103] = 3.0
    >>> np.flatnonzero(detect(scores, slice(0, 60), window=6)).tolist()
    [100, 101, 102]
    >>> np.flatnonzero(detect(scores, slice(0, 60), window=6, refractory=5)).tolist()
    [100]
    """
    if refractory < 0:
        raise ConfigError(f"refractory is {refractory}: give a number of steps, 0 for none.")
    adjusted = adjusted_scores(scores, window)
    alarms = adjusted > threshold(adjusted, history, beta)
    return sparse(alarms, refractory)


def threshold(adjusted: np.ndarray, history: slice, beta: float) -> float:
    """Return ``mu + beta * sigma`` of the finite adjusted scores in the history.

    Raises
    ------
    DataError
        When there are none.
    """
    known = adjusted[history]
    known = known[np.isfinite(known)]
    if not len(known):
        raise DataError(
            f"no step of the history ({history.start} to {history.stop}) has an adjusted score: use a longer history, "
            "or a shorter window."
        )
    return float(known.mean() + beta * known.std())


def sparse(alarms: np.ndarray, refractory: int) -> np.ndarray:
    """Keep an alarm only where none was kept in the ``refractory`` steps before; (T,) bool."""
    steps = np.flatnonzero(alarms)
    kept = np.zeros_like(alarms)
    place = 0
    while place < len(steps):
        kept[steps[place]] = True
        place = int(np.searchsorted(steps, steps[place] + refractory, side="right"))
    return kept


def _series(values: np.ndarray, what: str) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise DataError(f"the {what} have shape {values.shape}, expected (times,), one at least.")
    return values
