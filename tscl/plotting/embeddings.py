"""Pictures of embeddings: where windows lie, and which of them are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from tscl.errors import ConfigError, DataError
from tscl.plotting.style import GREY, INK, PALE, PALETTE, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def check_pairs(embeddings: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings (n, D) as float64 and labels (n,) as an array.

    Raises
    ------
    DataError
        When shapes disagree, there are fewer than two windows, or an embedding is not finite.
    """
    embeddings, labels = np.asarray(embeddings, dtype=np.float64), np.asarray(labels)
    if embeddings.ndim != 2 or labels.shape != (len(embeddings),) or len(embeddings) < 2:
        raise DataError(
            f"embeddings have shape {embeddings.shape} and labels {labels.shape}, expected (n, D) and (n,), n >= 2."
        )
    if not np.isfinite(embeddings).all():
        raise DataError("embeddings contain NaN or infinity: leave those windows out.")
    return embeddings, labels


def principal_plane(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Project embeddings (n, D) on their first two principal components: coordinates (n, 2), share of variance (2,)."""
    centred = embeddings - embeddings.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    plane = np.zeros((len(centred), 2))
    plane[:, : min(2, len(s))] = (u * s)[:, :2]
    share = np.zeros(2)
    share[: min(2, len(s))] = (s**2 / max((s**2).sum(), np.finfo(float).tiny))[:2]
    return plane, share


def umap_plane(embeddings: np.ndarray) -> np.ndarray:
    """Lay embeddings (n, D) out in a plane by UMAP, always the same way: coordinates (n, 2).

    Raises
    ------
    ConfigError
        When umap-learn is not installed.
    """
    try:
        from umap import UMAP
    except ImportError as error:
        raise ConfigError("method='umap' needs umap-learn: pip install 'tscl[umap]'.") from error
    neighbours = max(2, min(15, len(embeddings) - 1))
    return UMAP(n_neighbors=neighbours, init="pca", metric="cosine", random_state=0, n_jobs=1).fit_transform(embeddings)


def embedding_map(
    embeddings: np.ndarray,
    labels: np.ndarray,
    ax: Axes | None = None,
    *,
    title: str = "",
    max_legend: int = 10,
    method: Literal["pca", "umap"] = "pca",
) -> Axes:
    """Draw embeddings in a plane, coloured by label: patient, class, or the id of any level.

    Parameters
    ----------
    embeddings : ndarray, shape (n, D)
        One embedding a window.
    labels : ndarray, shape (n,)
        Class, patient or any other category of each window.
    ax : Axes, optional
        Where to draw; a new figure by default.
    title : str
        What the colours are, such as "patient".
    max_legend : int
        Up to so many categories are named in a legend; more are coloured only, and counted in the title.
    method : {"pca", "umap"}
        The plane of the first two principal components, or a layout that keeps neighbours by cosine distance together
        (McInnes et al. 2018; needs ``pip install 'tscl[umap]'`` and five windows): its large distances mean nothing.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        When shapes disagree, there are fewer than two windows, or an embedding is not finite.
    ConfigError
        When the method is unknown, or umap-learn is not installed.
    """
    import matplotlib as mpl

    if method not in ("pca", "umap"):
        raise ConfigError(f"method is {method!r}: choose 'pca' or 'umap'.")
    embeddings, labels = check_pairs(embeddings, labels)
    if method == "pca":
        plane, share = principal_plane(embeddings)
        axis_names = (f"first component ({share[0]:.0%} of variance)", f"second component ({share[1]:.0%})")
    else:
        if len(embeddings) < 5:
            raise DataError(f"UMAP needs five windows at least, there are {len(embeddings)}: use method='pca'.")
        plane, axis_names = umap_plane(embeddings), ("first UMAP dimension", "second UMAP dimension")
    codes, names = pd.factorize(labels, sort=True)
    named = len(names) <= max_legend
    if named and len(names) <= len(PALETTE):
        colours = [*PALETTE[: len(names)]]
    else:
        colours = [mpl.colors.to_hex(c) for c in mpl.colormaps["turbo"](np.linspace(0.03, 0.97, len(names)))]
    ax = new_axes(ax, 5.4, 4.6)
    order = np.random.default_rng(0).permutation(len(plane))
    shade = np.array([*colours, PALE])[codes]
    size = float(np.clip(4000 / len(plane), 6, 28))
    ax.scatter(plane[order, 0], plane[order, 1], c=shade[order], s=size, alpha=0.8, linewidths=0)
    if named:
        for name, colour in zip(names, colours, strict=True):
            ax.scatter([], [], color=colour, s=28, label=str(name))
        legend = ax.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper left", bbox_to_anchor=(1, 1))
        legend.set_title(title)
    else:
        ax.set_title(f"{title or 'colours'}: {len(names)} categories", fontsize=10, color=INK)
    ax.set_xlabel(axis_names[0], color=INK)
    ax.set_ylabel(axis_names[1], color=INK)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(PALE)
    return ax


def similarity_matrix(
    embeddings: np.ndarray,
    groups: np.ndarray,
    ax: Axes | None = None,
    *,
    within: np.ndarray | None = None,
    max_named: int = 24,
) -> Axes:
    """Draw the cosine similarity of every pair of windows, sorted by group, after removing the mean embedding.

    Parameters
    ----------
    embeddings : ndarray, shape (n, D)
        One embedding a window; a few thousand at most.
    groups : ndarray, shape (n,)
        Patient (or trial, class) of each window.
    ax : Axes, optional
        Where to draw; a new figure by default.
    within : ndarray, shape (n,), optional
        Trial or label by which the windows of a group are sorted; they stay in their order by default.
    max_named : int
        Up to so many groups are named along the axes.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        When shapes disagree, there are fewer than two windows, or an embedding is not finite.
    """
    embeddings, groups = check_pairs(embeddings, groups)
    codes, names = pd.factorize(groups, sort=True)
    finer = np.zeros(len(codes)) if within is None else pd.factorize(check_pairs(embeddings, within)[1], sort=True)[0]
    order = np.lexsort((finer, codes))
    unit = embeddings[order] - embeddings.mean(axis=0)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    ax = new_axes(ax, 5.6, 4.8)
    image = ax.imshow(unit @ unit.T, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8, ticks=[-1, 0, 1])
    bar.set_label("cosine similarity", color=INK)
    bar.outline.set_visible(False)
    ends = np.bincount(codes[order]).cumsum()
    for end in ends[:-1]:
        ax.axhline(end - 0.5, color=GREY, linewidth=0.5)
        ax.axvline(end - 0.5, color=GREY, linewidth=0.5)
    ax.spines[:].set_color(PALE)
    ax.set_xticks([])
    ax.set_yticks([])
    if len(names) <= max_named:
        centres = (ends + np.r_[0, ends[:-1]] - 1) / 2
        ax.set_yticks(centres, [str(name) for name in names], fontsize=8, color=INK)
        ax.tick_params(length=0)
    return ax
