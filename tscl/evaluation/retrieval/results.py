"""The table that an evaluation by retrieval gives."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from tscl.errors import DataError
from tscl.evaluation.bootstrap import percentile_interval
from tscl.evaluation.retrieval.ranking import KS, chance_level, check_ks, hits, retrieval_metrics
from tscl.evaluation.retrieval.words import word_chance, word_codes
from tscl.files import atomic_file

log = logging.getLogger(__name__)

DUPLICATES = "all windows of the same stretch of sound, of whichever subject or session, share one candidate"
CHANCE = "chance"


@dataclass
class RetrievalResults:
    """What :func:`evaluate_retrieval` measured.

    Attributes
    ----------
    table : DataFrame
        A row a query of a model: ``model``, ``seed``, ``subject``, ``segment``; ``rank`` among the candidates (from 1,
        ties at their mean) and ``tied`` (candidates with that score); ``word_rank`` and ``word_tied`` among the
        distinct words, NaN for a query without a word.
    candidates : DataFrame
        A row a candidate: ``segment``, ``sound``, ``sound_onset`` (s), ``word``.
    subjects : tuple of str
        The subjects in their order, those without a query included.
    ks : tuple of int
        The k of top-k accuracy.
    duplicates : str
        How windows of the same sound were treated.

    Raises
    ------
    ConfigError
        When there are not more candidates than k.
    """

    table: pd.DataFrame
    candidates: pd.DataFrame
    subjects: tuple[str, ...]
    ks: tuple[int, ...] = KS
    duplicates: str = DUPLICATES

    def __post_init__(self) -> None:
        self.subjects, self.ks = tuple(map(str, self.subjects)), tuple(self.ks)
        check_ks(self.n_candidates, self.ks)

    @property
    def n_candidates(self) -> int:
        """Number of candidates."""
        return len(self.candidates)

    @cached_property
    def n_words(self) -> int:
        """Number of distinct words among the candidates."""
        return len(word_codes(self.candidates["word"].tolist())[1])

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics: ``top1``, ..., ``median_relative_rank``, then those of words, ``word_top1``, ...

        A word metric that needs more distinct words than there are is NaN, and all are absent without any word.
        """
        plain = (*(f"top{k}" for k in self.ks), "median_relative_rank")
        return (*plain, *(f"word_{name}" for name in plain)) if self.n_words > 1 else plain

    def _measure(self, rows: pd.DataFrame) -> dict[str, float]:
        measured = dict.fromkeys(self.metrics, float("nan"))
        measured |= retrieval_metrics(rows["rank"].to_numpy(), self.n_candidates, self.ks, rows["tied"].to_numpy())
        if self.n_words > 1:
            ranks, tied = rows["word_rank"].to_numpy(), rows["word_tied"].to_numpy()
            words = retrieval_metrics(ranks, self.n_words, self._word_ks, tied)
            measured |= {f"word_{name}": value for name, value in words.items()}
        return measured

    @property
    def _word_ks(self) -> tuple[int, ...]:
        return tuple(k for k in self.ks if k < self.n_words)

    def _queries(self) -> pd.DataFrame:
        """The queries of one model and seed; those of the others are the same."""
        first = self.table[["model", "seed"]].iloc[0]
        return self.table[(self.table["model"] == first["model"]) & (self.table["seed"] == first["seed"])]

    def _chance(self, queries: pd.DataFrame) -> dict[str, float]:
        chance = dict.fromkeys(self.metrics, float("nan")) | chance_level(self.n_candidates, self.ks)
        if self.n_words > 1:
            column = pd.Index(self.candidates["segment"]).get_indexer(queries["segment"])
            words = word_chance(self.candidates["word"].tolist(), column, self._word_ks)
            chance |= {f"word_{name}": value for name, value in words.items()}
        return chance

    def chance(self) -> dict[str, float]:
        """Return every metric at chance: guessing, and for words the same probability for all candidates."""
        return self._chance(self._queries())

    def summary(self, level: float = 0.95, n_resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
        """Pool the queries of all subjects, with intervals over subjects.

        Subjects are drawn with replacement, and all queries of a drawn subject come along; the same draws serve every
        model. Metrics are averaged over seeds.

        Parameters
        ----------
        level : float
            Coverage of the interval, between 0 and 1.
        n_resamples : int
            How many draws of as many subjects as there are.
        seed : int
            Of the draws.

        Returns
        -------
        DataFrame
            ``model``, ``metric``, ``mean`` and ``sd`` over seeds (sd is NaN with one seed), ``seeds``, ``low`` and
            ``high`` (NaN, with a logged warning, with one subject), and ``chance``.

        Raises
        ------
        ConfigError
            When the level is not between 0 and 1.
        """
        tested = self.table["subject"].unique()
        if len(tested) < 2:
            log.warning("one subject only: an interval over subjects is undefined")
            copies = np.empty((0, len(tested)))
        else:
            share = np.full(len(tested), 1 / len(tested))
            copies = np.random.default_rng(seed).multinomial(len(tested), share, size=n_resamples).astype(np.float64)
        chance, lines = self.chance(), []
        for model, of_model in self.table.groupby("model", sort=False):
            parts = [rows for _, rows in of_model.groupby("seed", sort=False)]
            values = pd.DataFrame([self._measure(rows) for rows in parts])
            again = [self._resampled(rows, pd.Index(tested).get_indexer(rows["subject"]), copies) for rows in parts]
            for name in self.metrics:
                low, high = percentile_interval(np.mean([one[name] for one in again], axis=0), level)
                column = values[name]
                lines.append((model, name, column.mean(), column.std(), len(parts), low, high, chance[name]))
        return pd.DataFrame(lines, columns=["model", "metric", "mean", "sd", "seeds", "low", "high", CHANCE])

    def _resampled(self, rows: pd.DataFrame, subject: np.ndarray, copies: np.ndarray) -> dict[str, np.ndarray]:
        """Compute every metric for numbers of copies (R, S) of the subjects, each (R,)."""
        result = {name: np.full(len(copies), np.nan) for name in self.metrics}
        levels = [("", "rank", "tied", self.n_candidates, self.ks)]
        if self.n_words > 1:
            levels.append(("word_", "word_rank", "word_tied", self.n_words, self._word_ks))
        for prefix, rank, ties, n_candidates, ks in levels:
            known = rows[rank].notna().to_numpy()
            ranks, tied = rows[rank].to_numpy()[known], rows[ties].to_numpy()[known]
            found = _by_subject(subject[known], hits(ranks, ks, tied), copies.shape[1])
            values, place = np.unique(ranks, return_inverse=True)
            histogram = np.zeros((copies.shape[1], len(values)))
            np.add.at(histogram, (subject[known], place), 1)
            below = (copies @ histogram).cumsum(axis=1)
            total = copies @ histogram.sum(axis=1)
            drawn = total > 0
            top = (copies @ found)[drawn] / total[drawn, None]
            for number, k in enumerate(ks):
                result[f"{prefix}top{k}"][drawn] = top[:, number]
            middle = [values[(below[drawn] <= at[:, None]).sum(axis=1)] for at in _middle(total[drawn])]
            result[f"{prefix}median_relative_rank"][drawn] = (np.mean(middle, axis=0) - 1) / (n_candidates - 1)
        return result

    def by_subject(self) -> pd.DataFrame:
        """Return the metrics of every subject, averaged over seeds.

        Returns
        -------
        DataFrame
            ``model``, ``subject``, ``queries`` and a column a metric; a subject without a query has 0 and NaN. The
            model ``"chance"`` comes last.
        """
        return pd.DataFrame(self._subject_rows(), columns=["model", "subject", "queries", *self.metrics])

    def _subject_rows(self) -> Iterator[dict[str, object]]:
        empty = dict.fromkeys(self.metrics, float("nan"))
        for model, of_model in self.table.groupby("model", sort=False):
            for subject in self.subjects:
                own = [rows for _, rows in of_model[of_model["subject"] == subject].groupby("seed", sort=False)]
                measured = [self._measure(rows) for rows in own] or [empty]
                mean = {name: float(np.mean([one[name] for one in measured])) for name in self.metrics}
                yield {"model": model, "subject": subject, "queries": len(own[0]) if own else 0, **mean}
        queries = self._queries()
        for subject in self.subjects:
            rows = queries[queries["subject"] == subject]
            chance = self._chance(rows) if len(rows) else empty
            yield {"model": CHANCE, "subject": subject, "queries": len(rows), **chance}

    def statement(self) -> str:
        """Say what was ranked: numbers of candidates, queries, subjects and words, and how duplicates were treated."""
        queries = self._queries()
        tested = queries["subject"].nunique()
        silent = len(self.subjects) - tested
        text = (
            f"Candidates: {self.n_candidates} distinct segments of sound; {self.duplicates}. "
            f"Queries: {len(queries)} windows of {tested} subject{'s' * (tested != 1)}"
        )
        text += f" ({silent} more without a test segment). " if silent else ". "
        if self.n_words < 2:
            return text + "Words are not judged: the candidates have fewer than two distinct words."
        no_query = int(queries["word_rank"].isna().sum())
        no_candidate = int((word_codes(self.candidates["word"].tolist())[0] < 0).sum())
        return text + (
            f"Words: {self.n_words} distinct; {no_candidate} candidates and {no_query} queries without a word are left "
            "out."
        )

    def to_markdown(
        self,
        metrics: Sequence[str] | None = None,
        level: float = 0.95,
        n_resamples: int = 1000,
        statement: bool = True,
    ) -> str:
        """Return a table with a line a model and one for chance, and the :meth:`statement` below it.

        Parameters
        ----------
        metrics : sequence of str, optional
            Which metrics; all by default.
        level, n_resamples
            See :meth:`summary`.
        statement : bool
            Whether the statement is added.

        Returns
        -------
        str
            In a cell the mean, with several seeds ± the standard deviation, and the interval over subjects.

        Raises
        ------
        DataError
            When there is no such metric.
        """
        shown = self.metrics if metrics is None else tuple(metrics)
        unknown = [name for name in shown if name not in self.metrics]
        if unknown:
            raise DataError(f"there are no metrics {unknown}: choose among {list(self.metrics)}.")
        summary = self.summary(level, n_resamples)
        titles = [name.replace("_", " ").replace("top", "top-") for name in shown]
        lines = ["| model | " + " | ".join(titles) + " |", "|---" * (1 + len(shown)) + "|"]
        for model, rows in summary.groupby("model", sort=False):
            cells = dict(zip(rows["metric"], rows[["mean", "sd", "low", "high"]].to_numpy(float), strict=True))
            lines.append("| " + " | ".join([str(model), *(_cell(*cells[name]) for name in shown)]) + " |")
        chance = self.chance()
        lines.append("| " + " | ".join([CHANCE, *(_cell(chance[name]) for name in shown)]) + " |")
        return "\n".join([*lines, "", self.statement()] if statement else lines)

    def subjects_markdown(self) -> str:
        """Return a table with a line a model and subject, chance included, without the metrics of words."""
        shown = [name for name in self.metrics if not name.startswith("word_")]
        lines = ["| model | subject | queries | " + " | ".join(shown) + " |", "|---" * (3 + len(shown)) + "|"]
        for row in self.by_subject().to_dict("records"):
            cells = [f"{row[name]:.3f}" for name in shown]
            lines.append("| " + " | ".join([row["model"], row["subject"], str(row["queries"]), *cells]) + " |")
        return "\n".join(lines)

    def to_csv(self, path: str | Path) -> Path:
        """Write the table of queries; an older file stays when that fails."""
        with atomic_file(path) as temporary:
            self.table.to_csv(temporary, index=False)
        return Path(path)

    @classmethod
    def side_by_side(cls, parts: Sequence[RetrievalResults]) -> RetrievalResults:
        """Put the results of several models or seeds on the same candidates and queries into one.

        Parameters
        ----------
        parts : sequence of RetrievalResults

        Returns
        -------
        RetrievalResults

        Raises
        ------
        DataError
            When there is no part, candidates or queries differ, or a model was judged twice with one seed.
        """
        if not parts:
            raise DataError("there are no results to put side by side: give one at least.")
        first = parts[0]
        order = ["subject", "segment"]
        asked = first._queries()[order].sort_values(order, ignore_index=True)
        for other in parts[1:]:
            name = other.table["model"].iloc[0]
            if (first.ks, first.duplicates) != (other.ks, other.duplicates) or not first.candidates.equals(
                other.candidates
            ):
                raise DataError(
                    f"the results of {name!r} are of other candidates ({other.n_candidates}, k {other.ks}) than those "
                    f"of {first.table['model'].iloc[0]!r} ({first.n_candidates}, k {first.ks}): take one test set."
                )
            if not other._queries()[order].sort_values(order, ignore_index=True).equals(asked):
                raise DataError(f"the results of {name!r} are of other windows: judge all models on one test set.")
        runs = pd.concat([part.table[["model", "seed"]].drop_duplicates() for part in parts])
        if runs.duplicated().any():
            model, seed = runs[runs.duplicated()].iloc[0]
            raise DataError(f"{model!r} was judged twice with seed {seed}: give each run its own seed.")
        subjects = dict.fromkeys(name for part in parts for name in part.subjects)
        return replace(
            first, table=pd.concat([part.table for part in parts], ignore_index=True), subjects=tuple(subjects)
        )


def _by_subject(subject: np.ndarray, values: np.ndarray, n_subjects: int) -> np.ndarray:
    total = np.zeros((n_subjects, values.shape[1]))
    np.add.at(total, subject, values)
    return total


def _middle(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the two middle values of sorted data of each length."""
    return (total - 1) // 2, total // 2


def _cell(mean: float, sd: float = np.nan, low: float = np.nan, high: float = np.nan) -> str:
    if np.isnan(mean):
        return "-"
    spread = "" if np.isnan(sd) else f" ± {sd:.3f}"
    interval = "" if np.isnan(low) else f" [{low:.3f}, {high:.3f}]"
    return f"{mean:.3f}{spread}{interval}"
