"""Ranks of words: the probabilities of all candidates that share a word are added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tscl.errors import DataError
from tscl.evaluation.retrieval.ranking import CELLS, KS, retrieval_metrics, tie_sizes, true_ranks


def plain_word(word: object) -> str | None:
    """Write a word in lower case, without the punctuation around it.

    Parameters
    ----------
    word : object
        Text; anything else (None, NaN) is no word.

    Returns
    -------
    str or None
        None where nothing is left.

    Examples
    --------
    >>> plain_word("Don't,")
    "don't"
    """
    if not isinstance(word, str):
        return None
    text = word.casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    letters = [number for number, letter in enumerate(text) if letter.isalnum()]
    return text[letters[0] : letters[-1] + 1] if letters else None


def word_codes(words: Sequence[object]) -> tuple[np.ndarray, list[str]]:
    """Number the distinct words: codes (m,) int64, -1 without a word, and the sorted plain words."""
    plain = [plain_word(word) for word in words]
    known = sorted({word for word in plain if word is not None})
    code: dict[str | None, int] = {word: number for number, word in enumerate(known)}
    return np.array([code.get(word, -1) for word in plain], dtype=np.int64), known


def word_ranks(scores: np.ndarray, truth: np.ndarray, words: Sequence[object]) -> tuple[np.ndarray, np.ndarray]:
    """Rank the word of every query: a word has the summed softmax probability of its candidates.

    The sums are compared by their logarithms, so that probabilities too small for a float keep their order (Defossez et
    al. 2023, arXiv 2208.12266, word-level evaluation).

    Parameters
    ----------
    scores : ndarray, shape (n, m), float
        Logits of the candidates.
    truth : ndarray, shape (n,), int
        Column of the true candidate of each query.
    words : sequence, length m
        Word of each candidate, compared in lower case and without punctuation around it; candidates without a word
        (None, NaN, punctuation only) are left out.

    Returns
    -------
    ranks : ndarray, shape (n,), float64
        Rank from 1 among the distinct words, ties at their mean; NaN for a query whose candidate has no word.
    tied : ndarray, shape (n,), float64
        Words of equal probability, the true one included; NaN likewise.

    Raises
    ------
    DataError
        When a score is NaN or infinite, or there is not one word a candidate.
    """
    scores, truth = np.asarray(scores), np.asarray(truth)
    if scores.ndim != 2 or len(words) != scores.shape[1]:
        raise DataError(f"scores have the shape {scores.shape} but there are {len(words)} words: give one a candidate.")
    codes, known = word_codes(words)
    ranks, tied = np.full((2, len(scores)), np.nan)
    queries = np.flatnonzero(codes[truth] >= 0)
    size = max(1, CELLS // max(len(codes), 1))
    for start in range(0, len(queries), size):
        part = queries[start : start + size]
        added = _added(scores[part], codes, len(known))
        ranks[part] = true_ranks(added, codes[truth[part]])
        tied[part] = tie_sizes(added, codes[truth[part]])
    return ranks, tied


def _added(scores: np.ndarray, codes: np.ndarray, n_words: int) -> np.ndarray:
    """Log of the sum of exponentials over the candidates of each word, (n, n_words) float64."""
    order = np.argsort(codes, kind="stable")[(codes < 0).sum() :]
    starts = np.searchsorted(codes[order], np.arange(n_words))
    ordered = scores[:, order].astype(np.float64)
    peak = np.maximum.reduceat(ordered, starts, axis=1)
    ordered -= peak[:, codes[order]]
    return np.log(np.add.reduceat(np.exp(ordered), starts, axis=1)) + peak


def word_chance(words: Sequence[object], truth: np.ndarray, ks: Sequence[int] = KS) -> dict[str, float]:
    """Return what a model with the same probability for every candidate reaches at the word level.

    It ranks words by their number of candidates, so it finds frequent words; this is computed for the given queries.

    Parameters
    ----------
    words : sequence, length m
        Word of each candidate.
    truth : ndarray, shape (n,), int
        The candidate of each query.
    ks : sequence of int

    Returns
    -------
    dict of str to float
        See :func:`retrieval_metrics`; ties count as in a random order.

    Raises
    ------
    ConfigError
        When there are not more distinct words than k.
    """
    codes, known = word_codes(words)
    counts = np.log(np.bincount(codes[codes >= 0], minlength=len(known)))
    every = np.arange(len(known))
    uniform = np.broadcast_to(counts, (len(known), len(known)))
    ranks, tied = true_ranks(uniform, every), tie_sizes(uniform, every)
    asked = codes[np.asarray(truth)]
    asked = asked[asked >= 0]
    return retrieval_metrics(ranks[asked], len(known), ks, tied[asked])
