"""What a model took a few windows for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import nn

from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError
from tscl.evaluation.retrieval.protocol import Predictor, candidates_of, score_matrix
from tscl.evaluation.retrieval.ranking import true_ranks


def best_candidates(
    model: nn.Module | Predictor,
    windows: WindowDataset,
    rows: np.ndarray,
    *,
    k: int = 5,
    batch_size: int = 64,
    device: torch.device | str | None = None,
) -> pd.DataFrame:
    """List the best candidates of a few queries, for a look at what is confused with what.

    Parameters
    ----------
    model : nn.Module or object with ``predict(batch)``
        See :func:`evaluate_retrieval`.
    windows : WindowDataset
        The test windows, whose distinct segments are the candidates.
    rows : ndarray, shape (q,), int
        Positions of the queries.
    k : int
        Candidates a query.
    batch_size, device
        See :func:`evaluate_retrieval`.

    Returns
    -------
    DataFrame, k rows a query
        ``query`` (its position), ``subject``, ``heard`` (words of its segment), ``rank`` of the true candidate; then
        ``place`` (from 1), ``words``, ``probability`` (softmax over all candidates) and ``true`` of each candidate.
        Words are those heard in the segment; of windows without a table of words, the first word.

    Raises
    ------
    ConfigError
        When there are fewer candidates than k.
    DataError
        See :func:`score_matrix`.
    """
    candidates = candidates_of(windows)
    if not 1 <= k <= len(candidates):
        raise ConfigError(f"k is {k}: there are {len(candidates)} candidates.")
    rows = np.asarray(rows)
    queries = windows.select(rows)
    scores = score_matrix(model, queries, candidates, batch_size=batch_size, device=device)
    truth = candidates.truth[rows]
    ranks = true_ranks(scores, truth)
    probability = torch.from_numpy(scores).softmax(dim=1).numpy()
    words = _words_of(windows)
    lines = []
    for number, (row, own) in enumerate(zip(rows, truth, strict=True)):
        subject = str(windows.metadata["patient"].iloc[row])
        heard = words(candidates.table.iloc[own])
        for place, column in enumerate(np.argsort(-scores[number], kind="stable")[:k], 1):
            found = words(candidates.table.iloc[column])
            shown = (place, found, float(probability[number, column]), bool(column == own))
            lines.append((int(row), subject, heard, ranks[number], *shown))
    names = ["query", "subject", "heard", "rank", "place", "words", "probability", "true"]
    return pd.DataFrame(lines, columns=names)


def _words_of(windows: WindowDataset) -> Callable[[pd.Series], str]:
    """Return what names a candidate by the words heard in it, or by its place where there are none."""
    corpus = getattr(windows, "corpus", None)
    heard = None
    if corpus is not None:
        heard = corpus.words[["sound", "sound_onset", "word"]].dropna().drop_duplicates(["sound", "sound_onset"])
        heard = heard.sort_values("sound_onset")

    def words(candidate: pd.Series) -> str:
        text = "" if candidate["word"] is None else str(candidate["word"])
        if heard is not None:
            after = heard["sound_onset"] - candidate["sound_onset"]
            inside = (heard["sound"] == candidate["sound"]) & (after > -1e-6) & (after < windows.duration)
            text = " ".join(heard.loc[inside, "word"].astype(str)) or text
        return text or f"segment {candidate['segment']}"

    return words
