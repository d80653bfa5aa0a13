"""Scores of windows against candidates, the rank of the true one, and what ranks amount to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tscl.errors import ConfigError, DataError
from tscl.functional import match_logits

KS = (1, 5, 10)
CELLS = 20_000_000


def match_scores(z: Tensor, candidates: Tensor, chunk: int = 64) -> Tensor:
    """Score every window against every candidate: the inner product over features and time.

    Each candidate is scaled to unit norm; the softmax of a row is p(Y_j | X) of Defossez et al. 2023 (arXiv
    2208.12266).

    Parameters
    ----------
    z : Tensor, shape (n, F, T), floating
        What the model made of the windows.
    candidates : Tensor, shape (m, F, T), floating
        Features of the candidates, on the device of ``z``.
    chunk : int
        Candidates that are scaled at a time, which bounds the memory.

    Returns
    -------
    Tensor, shape (n, m), float32 or float64

    Raises
    ------
    DataError
        When the two differ in features or time steps, or there is no candidate.
    """
    if z.ndim != 3 or candidates.ndim != 3 or z.shape[1:] != candidates.shape[1:] or not len(candidates):
        raise DataError(
            f"windows {tuple(z.shape)} and candidates {tuple(candidates.shape)} cannot be matched: both must be "
            "(number, features, times) with the same features and times, and there must be a candidate."
        )
    return torch.cat([match_logits(z, part) for part in candidates.split(max(1, chunk))], dim=1)


def true_ranks(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Rank the true candidate of every query by its score.

    Parameters
    ----------
    scores : ndarray, shape (n, m), float
        Higher is better.
    truth : ndarray, shape (n,), int
        Column of the true candidate of each query.

    Returns
    -------
    ndarray, shape (n,), float64
        1 is best. Equal scores share their mean rank, so a model that says nothing is in the middle.

    Raises
    ------
    DataError
        When a score is NaN or infinite, or shapes and columns do not fit.
    """
    return _above_and_tied(scores, truth) @ [1.0, 0.5] + 0.5


def tie_sizes(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Count the candidates that score the same as the true one, itself included.

    Parameters
    ----------
    scores, truth
        See :func:`true_ranks`.

    Returns
    -------
    ndarray, shape (n,), int64
    """
    return _above_and_tied(scores, truth)[:, 1]


def _above_and_tied(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Count the candidates above each query's true one, and those that tie with it, (n, 2) int64."""
    scores, truth = np.asarray(scores), np.asarray(truth)
    if scores.ndim != 2 or truth.shape != (len(scores),):
        raise DataError(
            f"scores have the shape {scores.shape} and truth {truth.shape}: expected (queries, candidates) and "
            "(queries,)."
        )
    n, m = scores.shape
    if n and (truth.min() < 0 or truth.max() >= m):
        raise DataError(f"truth goes from {truth.min()} to {truth.max()}: expected columns of {m} candidates.")
    counts = np.empty((n, 2), dtype=np.int64)
    size = max(1, CELLS // max(m, 1))
    for start in range(0, n, size):
        part = scores[start : start + size]
        bad = ~np.isfinite(part).all(axis=1)
        if bad.any():
            raise DataError(
                f"the scores of query {start + int(bad.argmax())} hold NaN or infinity and cannot be ranked: look for "
                "missing values in the model's input or its weights."
            )
        own = np.take_along_axis(part, truth[start : start + size, None], axis=1)
        counts[start : start + size, 0] = (part > own).sum(axis=1)
        counts[start : start + size, 1] = (part == own).sum(axis=1)
    return counts


def retrieval_metrics(
    ranks: np.ndarray, n_candidates: int, ks: Sequence[int] = KS, tied: np.ndarray | None = None
) -> dict[str, float]:
    """Summarise ranks: top-k accuracy and the median relative rank.

    Parameters
    ----------
    ranks : ndarray, shape (n,), float
        Ranks from 1, see :func:`true_ranks`; NaN is left out.
    n_candidates : int
        Candidates that each query was ranked among.
    ks : sequence of int
        Numbers of best candidates among which the true one counts as found.
    tied : ndarray, shape (n,), int, optional
        Candidates with the true one's score, see :func:`tie_sizes`. With it a tie across the k-th place counts with the
        probability that a random order puts the true one above; without it the mean rank decides.

    Returns
    -------
    dict of str to float
        ``top1``, ``top5``, ... (fraction of the queries) and ``median_relative_rank``, the median of
        (rank - 1) / (n_candidates - 1): 0 is best and 0.5 chance. NaN without a rank.

    Raises
    ------
    ConfigError
        When there are not more candidates than k.
    """
    check_ks(n_candidates, ks)
    ranks = np.asarray(ranks, dtype=np.float64)
    known = ~np.isnan(ranks)
    found = hits(ranks[known], ks, None if tied is None else np.asarray(tied)[known])
    if not known.any():
        return {**{f"top{k}": float("nan") for k in ks}, "median_relative_rank": float("nan")}
    top = {f"top{k}": float(value) for k, value in zip(ks, found.mean(axis=0), strict=True)}
    return {**top, "median_relative_rank": float((np.median(ranks[known]) - 1) / (n_candidates - 1))}


def hits(ranks: np.ndarray, ks: Sequence[int], tied: np.ndarray | None = None) -> np.ndarray:
    """Return the probability that each query's true candidate is among the best k, shape (n, len(ks)), float64."""
    tied = np.ones(len(ranks)) if tied is None else tied
    above = ranks - (tied + 1) / 2
    if (tied == 1).all():
        return (ranks[:, None] <= np.asarray(ks)).astype(np.float64)
    return np.clip((np.asarray(ks) - above[:, None]) / tied[:, None], 0, 1)


def chance_level(n_candidates: int, ks: Sequence[int] = KS) -> dict[str, float]:
    """Return the metrics of :func:`retrieval_metrics` that guessing gives.

    Parameters
    ----------
    n_candidates : int
    ks : sequence of int

    Returns
    -------
    dict of str to float

    Raises
    ------
    ConfigError
        When there are not more candidates than k.
    """
    check_ks(n_candidates, ks)
    return {**{f"top{k}": k / n_candidates for k in ks}, "median_relative_rank": 0.5}


def check_ks(n_candidates: int, ks: Sequence[int]) -> None:
    """Raise a ConfigError for a k that is no positive integer or not below the number of candidates."""
    for k in ks:
        if k < 1 or k != int(k):
            raise ConfigError(f"k is {k}: top-k accuracy needs a positive integer.")
        if n_candidates <= k:
            raise ConfigError(
                f"top-{k} accuracy among {n_candidates} candidates says nothing: give more candidates than {k} (a "
                "larger test set), or a smaller k in ks."
            )
