"""Rank the stretch of speech that was heard among all stretches of a test set."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError
from tscl.evaluation.contexts import device_of, evaluating
from tscl.evaluation.embedding import encode
from tscl.evaluation.retrieval.ranking import KS, check_ks, match_scores, tie_sizes, true_ranks
from tscl.evaluation.retrieval.results import CHANCE, RetrievalResults
from tscl.evaluation.retrieval.words import word_codes, word_ranks
from tscl.types import Batch

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger(__name__)

CANDIDATE_BYTES = 4 * 2**30
SCORE_CELLS = 2**26
DESCRIBED = ["segment", "sound", "sound_onset", "word"]


class Predictor(Protocol):
    """Anything that predicts speech features from brain signals, such as :class:`BackwardModel`."""

    def predict(self, batch: Batch) -> Tensor:
        """Return features of the windows of a batch, shape (B, F, T)."""


@dataclass
class Candidates:
    """The distinct segments of a set of windows, one row each.

    Attributes
    ----------
    windows : WindowDataset
        Windows with ``paired["speech"]`` in their batches.
    table : DataFrame, m rows
        ``segment``, ``sound``, ``sound_onset`` (s) and ``word`` (None or NaN where unknown), in the order of the
        columns of the scores.
    rows : ndarray, shape (m,), int64
        The first window of every segment, whose speech features are the candidate's.
    truth : ndarray, shape (n,), int64
        The candidate that each window belongs to.
    """

    windows: WindowDataset
    table: pd.DataFrame
    rows: np.ndarray
    truth: np.ndarray
    _held: dict[torch.device, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def features(self, columns: slice) -> Tensor:
        """Return the speech features of some candidates, shape (k, F, T), float32.

        Raises
        ------
        DataError
            When they are missing or not finite.
        """
        paired = self.windows[self.rows[columns]].paired
        if "speech" not in paired:
            raise DataError("the windows have no speech features: use SpeechWindows.")
        features = paired["speech"].float()
        bad = ~torch.isfinite(features).flatten(1).all(dim=1)
        if bad.any():
            row = self.table.iloc[columns].iloc[int(bad.int().argmax())]
            where = f"segment {row['segment']}" + (
                "" if row["sound"] is None else f" ({row['sound']}, {row['sound_onset']} s)"
            )
            raise DataError(f"the speech features of {where} hold NaN or infinity: check the sound.")
        return features

    def chunks(self, device: torch.device) -> Iterator[tuple[slice, Tensor]]:
        """Yield columns and their features on ``device``: all, and kept, where 4 GiB hold them; else part by part."""
        if device in self._held:
            yield slice(0, len(self)), self._held[device]
            return
        size = max(1, CANDIDATE_BYTES // (4 * self.features(slice(0, 1)).numel()))
        for start in range(0, len(self), size):
            columns = slice(start, min(start + size, len(self)))
            features = self._load(columns, device)
            if size >= len(self):
                self._held[device] = features
            yield columns, features

    def _load(self, columns: slice, device: torch.device, step: int = 64) -> Tensor:
        first = self.features(slice(columns.start, columns.start + 1))
        whole = torch.empty(columns.stop - columns.start, *first.shape[1:], device=device)
        for start in range(columns.start, columns.stop, step):
            part = self.features(slice(start, min(start + step, columns.stop)))
            whole[start - columns.start : start - columns.start + len(part)] = part.to(device)
        return whole


def candidates_of(windows: WindowDataset) -> Candidates:
    """Find the distinct segments of speech windows.

    Parameters
    ----------
    windows : WindowDataset
        With the columns ``patient`` and ``segment`` in its metadata; windows of the same stretch of sound share the
        segment. Where there are ``sound``, ``sound_onset`` and ``word``, the candidates have them too.

    Returns
    -------
    Candidates

    Raises
    ------
    DataError
        When there is no window or the metadata lacks a column.
    """
    missing = [name for name in ("patient", "segment") if name not in windows.metadata]
    if missing:
        raise DataError(f"the metadata of the windows have no columns {missing}: use SpeechWindows.")
    if not len(windows):
        raise DataError("there is no window to evaluate: the test set is empty.")
    _, rows, truth = np.unique(windows.metadata["segment"].to_numpy(), return_index=True, return_inverse=True)
    table = windows.metadata.iloc[rows].reindex(columns=DESCRIBED).reset_index(drop=True)
    for name in ("sound", "word"):
        table[name] = table[name].astype(object).where(table[name].notna(), None)
    return Candidates(windows, table, rows, truth)


def score_matrix(
    model: nn.Module | Predictor,
    windows: WindowDataset,
    candidates: Candidates | None = None,
    *,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Score every window against every candidate, by :func:`match_scores`.

    Parameters
    ----------
    model : nn.Module or object with ``predict(batch)``
        An encoder, called as ``encoder(x, sensors=sensors)``, or a model of batches; both give (B, F, T).
    windows : WindowDataset
        The queries.
    candidates : Candidates, optional
        From :func:`candidates_of`; those of ``windows`` by default.
    batch_size : int
        Windows at a time.
    device : torch.device or str, optional
        Where to compute; that of the encoder by default.
    progress : bool
        Show a bar.

    Returns
    -------
    ndarray, shape (n, m), float32
        4 bytes a pair of window and candidate; :func:`evaluate_retrieval` holds no more than 256 MiB of them.

    Raises
    ------
    DataError
        When windows and candidates do not fit, or the model gives NaN or infinity.
    """
    candidates = candidates_of(windows) if candidates is None else candidates
    with _ready(model, device) as place, _bar(len(windows), progress) as bar:
        blocks = _score_blocks(model, windows, candidates, batch_size, place, bar)
        return np.concatenate([scores for _, scores in blocks])


def evaluate_retrieval(
    models: Mapping[str, nn.Module | Predictor],
    windows: WindowDataset,
    *,
    ks: Sequence[int] = KS,
    subjects: Sequence[str] | None = None,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    seed: int = 0,
    progress: bool = False,
) -> RetrievalResults:
    """Rank, for every window, the stretch of speech that was heard among all distinct stretches of the windows.

    Candidates are scored as in Defossez et al. 2023 (arXiv 2208.12266), see :func:`match_scores`; the word level adds
    the probabilities of the candidates that share a word, see :func:`word_ranks`. Windows of the same stretch of sound
    share one candidate. At most 4 GiB of candidates are held; of more, parts are read and the encoder runs once a part.

    Parameters
    ----------
    models : mapping of str to nn.Module or object with ``predict(batch)``
        By name: encoders, called as ``encoder(x, sensors=sensors)``, or models of batches; both give (B, F, T).
    windows : WindowDataset
        The test windows (:class:`tscl.data.speech.SpeechWindows`); the subject is their column ``patient``.
    ks : sequence of int
        The k of top-k accuracy.
    subjects : sequence of str, optional
        Subjects that the results list, in this order; those of the windows by default. One without a window is logged
        and has NaN.
    batch_size : int
        Windows at a time.
    device : torch.device or str, optional
        Where to compute; that of each encoder by default.
    seed : int
        The seed that the models were trained with: it stands in the table, to join several with ``side_by_side``.
    progress : bool
        Show a bar.

    Returns
    -------
    RetrievalResults

    Raises
    ------
    ConfigError
        When there is no model, one is called "chance", there are not more candidates than k, or a subject of the
        windows is not among ``subjects``.
    DataError
        When the windows have no speech, shapes do not fit, or a model gives NaN or infinity.
    """
    if not models or CHANCE in models:
        raise ConfigError(f"the models are {list(models)}: name one at least, and none {CHANCE!r}.")
    candidates = candidates_of(windows)
    check_ks(len(candidates), ks)
    tested = windows.metadata["patient"].astype(str)
    listed = tuple(tested.unique()) if subjects is None else tuple(map(str, subjects))
    unlisted = sorted(set(tested) - set(listed))
    if unlisted:
        raise ConfigError(f"`subjects` does not name {unlisted}, who have windows: add them, or leave it out.")
    for name in listed:
        if name not in set(tested):
            log.warning("subject %s has no test segment: its results are NaN", name)
    words = candidates.table["word"].tolist()
    n_words = len(word_codes(words)[1])
    if n_words <= max(ks):
        log.warning(
            "the candidates have %d distinct words: word-level top-k accuracy is left out where k >= %d",
            n_words,
            n_words,
        )
    parts = []
    for name, model in models.items():
        rows = windows.metadata[["segment"]].assign(subject=tested.to_numpy(), model=name, seed=seed)
        found = np.empty((4, len(windows)))
        try:
            with _ready(model, device) as place, _bar(len(windows), progress, name) as bar:
                for block, scores in _score_blocks(model, windows, candidates, batch_size, place, bar):
                    truth = candidates.truth[block]
                    found[0, block], found[1, block] = true_ranks(scores, truth), tie_sizes(scores, truth)
                    found[2:, block] = word_ranks(scores, truth, words)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        rows[["rank", "tied", "word_rank", "word_tied"]] = found.T
        parts.append(rows)
    columns = ["model", "seed", "subject", "segment", "rank", "tied", "word_rank", "word_tied"]
    table = pd.concat(parts, ignore_index=True)[columns]
    return RetrievalResults(table, candidates.table, listed, tuple(ks))


def _bar(total: int, progress: bool, name: str = "scoring") -> tqdm[NoReturn]:
    from tqdm import tqdm

    return tqdm(total=total, desc=name, unit="window", disable=not progress)


@contextmanager
def _ready(model: nn.Module | Predictor, device: torch.device | str | None) -> Iterator[torch.device]:
    """Put an encoder on the device and in evaluation mode, and back at the end."""
    encoder = model if isinstance(model, nn.Module) else nn.Module()
    own = device_of(encoder)
    place = own if device is None else torch.device(device)
    with evaluating(encoder):
        encoder.to(place)
        try:
            yield place
        finally:
            encoder.to(own)


def _score_blocks(
    model: nn.Module | Predictor,
    windows: WindowDataset,
    candidates: Candidates,
    batch_size: int,
    place: torch.device,
    bar: tqdm[NoReturn],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield positions of windows and their scores (k, m), float32, in blocks of limited size."""
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}: it must be 1 or more.")
    rows = max(batch_size, SCORE_CELLS // len(candidates) // batch_size * batch_size)
    for start in range(0, len(windows), rows):
        block = np.arange(start, min(start + rows, len(windows)))
        scores = np.empty((len(block), len(candidates)), dtype=np.float32)
        with torch.inference_mode():
            for columns, features in candidates.chunks(place):
                for first in range(0, len(block), batch_size):
                    part = block[first : first + batch_size]
                    z = _predicted(model, windows, part, place)
                    scores[first : first + len(part), columns] = match_scores(z, features).cpu().numpy()
                    bar.update(len(part) * len(features) / len(candidates))
        yield block, scores


def _predicted(model: nn.Module | Predictor, windows: WindowDataset, part: np.ndarray, place: torch.device) -> Tensor:
    given = windows[part]
    batch = Batch(given.x, given.levels, sensors=given.sensors).to(place)
    z = (encode(model, batch) if isinstance(model, nn.Module) else model.predict(batch)).float().to(place)
    bad = ~torch.isfinite(z).flatten(1).all(dim=1)
    if bad.any():
        number = int(part[int(bad.int().argmax())])
        subject = windows.metadata["patient"].iloc[number]
        raise DataError(
            f"the model gives NaN or infinity for window {number}, of subject {subject}: missing values of "
            "its input must not reach the output."
        )
    return z
