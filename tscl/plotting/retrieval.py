"""Retrieval of speech from brain signals: ranks, subjects, examples, and where the model listens."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tscl.errors import DataError
from tscl.plotting.style import GREY, INK, PALE, PALETTE, new_axes, tidy
from tscl.plotting.topomap import RIM, draw_topomap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 20


def rank_histogram(ranks: np.ndarray, n_candidates: int, ax: Axes | None = None) -> Axes:
    """Draw how the true candidates are ranked, from best to worst, beside chance.

    Parameters
    ----------
    ranks : ndarray, shape (n,), float
        Ranks from 1; NaN is left out.
    n_candidates : int
        Candidates that each query was ranked among.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        A bar is the share of the queries whose relative rank, (rank - 1) / (n_candidates - 1), lies in it.

    Raises
    ------
    DataError
        When there is no rank, or one that is not among the candidates.
    """
    ranks = np.asarray(ranks, dtype=np.float64)
    ranks = ranks[~np.isnan(ranks)]
    if ranks.ndim != 1 or not len(ranks) or n_candidates < 2:
        raise DataError(f"{ranks.size} ranks among {n_candidates} candidates cannot be drawn: give ranks (n,) from 1.")
    if ranks.min() < 1 or ranks.max() > n_candidates:
        raise DataError(
            f"ranks go from {ranks.min():g} to {ranks.max():g}: they must lie between 1 and {n_candidates} candidates."
        )
    relative = (ranks - 1) / (n_candidates - 1)
    bins = min(n_candidates, int(np.clip(n_candidates // 10, 5, BINS)))
    edges = np.linspace(0, 1, bins + 1)
    share = _binned(ranks, n_candidates, bins)
    # Ranks are whole numbers: a bin's chance is the share of the ranks that fall into it.
    chance = _binned(np.arange(1, n_candidates + 1), n_candidates, bins)
    median = float(np.median(relative))
    ax = tidy(new_axes(ax, 6, 3.6))
    ax.bar(edges[:-1], share, width=1 / bins, align="edge", color=PALETTE[0], edgecolor="white", linewidth=0.8)
    ax.stairs(chance, edges, color=GREY, linestyle="--", linewidth=1.2, label="chance", baseline=None)
    ax.axvline(median, color=PALETTE[1], linewidth=1.6, label=f"median {median:.3f}")
    ax.set_xlim(-0.01, 1.01)
    ax.set_xlabel(f"relative rank among {n_candidates:,} candidates (0 is best)", color=INK)
    ax.set_ylabel("share of queries", color=INK)
    ax.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper right")
    return ax


def _binned(ranks: np.ndarray, n_candidates: int, bins: int) -> np.ndarray:
    """Share of the ranks in each of ``bins`` equal ranges of the relative rank, free of rounding at their edges."""
    places = np.minimum((ranks - 1) * bins // (n_candidates - 1), bins - 1).astype(np.int64)
    return np.bincount(places, minlength=bins) / len(ranks)


def accuracy_by_subject(table: pd.DataFrame, metric: str = "top10", ax: Axes | None = None) -> Axes:
    """Draw a metric of every subject and model as bars, with the level of chance.

    Parameters
    ----------
    table : DataFrame
        Columns ``model``, ``subject`` and ``metric``, as :meth:`tscl.evaluation.RetrievalResults.by_subject` gives it;
        the model ``"chance"`` is drawn as a line across each subject. A subject with NaN keeps an empty place.
    metric : str
        Which column.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes
        Subjects from the best to the worst by the first model.

    Raises
    ------
    DataError
        When the table has no such column or no model.
    """
    if metric not in table.columns:
        raise DataError(f"the table has no column {metric!r}: it has {list(table.columns)}.")
    wide = table.pivot(index="subject", columns="model", values=metric)
    models = [name for name in table["model"].unique() if name != "chance"]
    if not models:
        raise DataError("the table has no model but chance: evaluate one.")
    lower_is_better = "rank" in metric
    wide = wide.sort_values(models[0], ascending=lower_is_better, na_position="last", kind="stable")
    width = 0.8 / len(models)
    ax = tidy(new_axes(ax, max(5.0, 2.2 + 0.32 * len(wide) * max(1, len(models) * 0.6)), 3.8))
    places = np.arange(len(wide))
    for number, model in enumerate(models):
        x = places + (number - (len(models) - 1) / 2) * width
        ax.bar(x, wide[model], width * 0.9, color=PALETTE[number % len(PALETTE)], label=model)
    if "chance" in wide:
        ax.hlines(wide["chance"], places - 0.5, places + 0.5, color=INK, linestyle="--", linewidth=1.2, label="chance")
    turned = len(wide) > 12 or max(map(len, wide.index.astype(str))) > 6
    ax.set_xticks(places, wide.index.astype(str), rotation=90 if turned else 0, color=INK)
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.6, len(wide) - 0.4)
    ax.set_xlabel("subject", color=INK)
    ax.set_ylabel(_spelled(metric), color=INK)
    ax.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def _spelled(metric: str) -> str:
    """Name a metric as a reader would: ``word_top10`` is "word-level top-10 accuracy"."""
    level = "word-level " if metric.startswith("word_") else ""
    name = metric.removeprefix("word_")
    return level + (f"top-{name[3:]} accuracy" if name.startswith("top") else name.replace("_", " "))


def attention_map(
    weights: np.ndarray, positions: np.ndarray, names: Sequence[str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw a weight a sensor as a topographic map, nose up.

    Parameters
    ----------
    weights : ndarray, shape (C,), float
        Such as the spatial attention of one output channel, or of all in total.
    positions : ndarray, shape (C, 2), float
        Sensor positions on the unit square (:func:`tscl.data.speech.flat_positions`); sensors without one are left out.
    names : sequence of str, length C, optional
        Written above the sensors; an empty text for none.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        When shapes disagree, a weight is not finite, or fewer than three sensors have a position.
    """
    weights, positions = np.asarray(weights, dtype=np.float64), np.asarray(positions, dtype=np.float64)
    if weights.ndim != 1 or positions.shape != (len(weights), 2) or (names is not None and len(names) != len(weights)):
        raise DataError(
            f"weights have the shape {weights.shape} and positions {positions.shape}"
            f"{'' if names is None else f', and there are {len(names)} names'}: expected (C,) and (C, 2), and C names."
        )
    known = np.isfinite(positions).all(axis=1)
    if known.sum() < 3:
        raise DataError(f"{known.sum()} of {len(known)} sensors have a position: a map needs three at least.")
    at = positions[known]
    at = at - (at.min(axis=0) + at.max(axis=0)) / 2
    radius = float(np.linalg.norm(at, axis=1).max())
    kept = None if names is None else [str(name) for name, one in zip(names, known, strict=True) if one]
    return draw_topomap(weights[known], at / radius * RIM, kept, "attention weight", ax)


def retrieval_examples(table: pd.DataFrame, ax: Axes | None = None, *, width: int = 24) -> Axes:
    """Draw what was heard in a few windows beside the best candidates; the true one has a frame.

    Parameters
    ----------
    table : DataFrame
        A row a query and candidate, with the columns ``query``, ``subject``, ``heard``, ``rank``, ``place``, ``words``,
        ``probability`` and ``true``, as :func:`tscl.evaluation.best_candidates` gives it.
    ax : Axes, optional
        Where to draw; a new figure by default.
    width : int
        Letters of a line; a text gets three lines, and the rest is left out.

    Returns
    -------
    Axes
        A row a query, in their order: what was heard, the candidates from the best on, shaded by their probability, and
        the rank of the true one.

    Raises
    ------
    DataError
        When the table lacks a column or has no row.
    """
    from matplotlib.patches import Rectangle

    needed = ["query", "subject", "heard", "rank", "place", "words", "probability", "true"]
    missing = [name for name in needed if name not in table.columns]
    if missing or table.empty:
        raise DataError(f"the table has {len(table)} rows and no columns {missing}: take that of best_candidates.")
    queries = list(table.groupby("query", sort=False))
    k = int(table["place"].max())
    ax = new_axes(ax, 1.75 * (k + 1) + 0.9, 0.62 * len(queries) + 0.6)
    for y, (_, rows) in enumerate(queries):
        first = rows.iloc[0]
        ax.text(-0.06, y, _folded(first["heard"], width), fontsize=7, color=INK, ha="right", va="center")
        ax.text(-1.0, y, str(first["subject"]), fontsize=7, color=GREY, ha="right", va="center")
        rank = f"{first['rank']:g}"
        ax.text(k + 0.08, y, rank, fontsize=9, color=PALETTE[1] if first["rank"] <= k else INK, va="center")
        for row in rows.to_dict("records"):
            x, probability = row["place"] - 1, float(row["probability"])
            ax.add_patch(Rectangle((x + 0.02, y - 0.46), 0.96, 0.92, facecolor=PALETTE[0], alpha=0.45 * probability))
            colour, line = (PALETTE[1], 2.0) if row["true"] else (PALE, 0.8)
            ax.add_patch(Rectangle((x + 0.02, y - 0.46), 0.96, 0.92, fill=False, edgecolor=colour, linewidth=line))
            ax.text(x + 0.5, y - 0.06, _folded(row["words"], width), fontsize=7, color=INK, ha="center", va="center")
            ax.text(x + 0.95, y + 0.42, f"{probability:.2f}", fontsize=6, color=INK, ha="right", va="bottom")
    ax.set_xlim(-1.25, k + 0.4)
    ax.set_ylim(len(queries) - 0.5, -0.5)
    titles = ["heard", *(f"candidate {place}" for place in range(1, k + 1)), "rank"]
    ax.set_xticks([-0.5, *(np.arange(k) + 0.5), k + 0.2], titles, fontsize=8, color=INK)
    ax.xaxis.tick_top()
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def _folded(text: str, width: int) -> str:
    lines = textwrap.wrap(text, width)
    return "\n".join(lines[:3]) + (" ..." if len(lines) > 3 else "")
