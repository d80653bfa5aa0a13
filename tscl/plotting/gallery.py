"""Views of one window beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tscl.errors import DataError
from tscl.plotting.style import GREY, INK, PALE, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def view_gallery(
    x: np.ndarray,
    views: Mapping[str, np.ndarray],
    *,
    sfreq: float = 1.0,
    columns: int = 4,
    colours: Sequence[str] | None = None,
    axes: Sequence[Axes] | None = None,
) -> list[Axes]:
    """Draw views of one window in panels of equal scales, the window itself in grey behind each.

    Parameters
    ----------
    x : ndarray, shape (C, T), float
        The window; its channels are drawn one below the other. NaN is not drawn.
    views : mapping of str to ndarray, each of shape (C, T'), float
        Title and signals of each view. A shorter view begins at time 0.
    sfreq : float
        Sampling rate, Hz; by default time is in steps.
    columns : int
        Number of panels in a row, of a new figure.
    colours : sequence of str, optional
        A colour a view; by default all have one.
    axes : sequence of Axes, optional
        Where to draw, at least one a view; a new figure by default.

    Returns
    -------
    list of Axes
        One a view, in their order.

    Raises
    ------
    DataError
        When there is no view, a view has other channels than the window, or axes or colours are too few.
    """
    x = np.asarray(x, dtype=float)
    if x.ndim != 2 or not np.isfinite(x).any():
        raise DataError(f"the window has shape {x.shape}, expected (channels, times) with at least one finite value.")
    if not views:
        raise DataError("there is no view to draw: give at least one.")
    for title, view in views.items():
        if np.ndim(view) != 2 or len(view) != len(x):
            raise DataError(
                f"the view {title!r} has shape {np.shape(view)}, the window {x.shape}: channels must agree."
            )
    colours = [PALETTE[0]] * len(views) if colours is None else list(colours)
    axes = _new_panels(len(views), columns, len(x)) if axes is None else list(axes)
    if len(axes) < len(views) or len(colours) < len(views):
        raise DataError(f"{len(views)} views but {len(axes)} axes and {len(colours)} colours: give one a view.")
    base, limits = _layout(x)
    for (title, view), colour, ax in zip(views.items(), colours, axes, strict=False):
        for values, shade, width in ((x, GREY, 0.8), (np.asarray(view, dtype=float), colour, 1.1)):
            ax.plot(np.arange(values.shape[1]) / sfreq, (values + base).T, color=shade, linewidth=width)
        ax.set_xlim(0, x.shape[1] / sfreq)
        ax.set_ylim(*limits)
        ax.locator_params(axis="x", nbins=4)
        ax.set_title(title, fontsize=9, color=INK, loc="left", pad=3)
        ax.set_yticks([])
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.spines["bottom"].set_color(PALE)
        ax.tick_params(color=PALE, labelcolor=INK, labelsize=8)
    return axes[: len(views)]


def _layout(x: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Return what to add to each channel, (C, 1), so that neighbours do not touch, and the limits of the axis."""
    filled = np.where(np.isfinite(x), x, np.nan)
    filled[np.isnan(filled).all(axis=1)] = 0
    centre = np.nanmean(filled, axis=1)
    low, high = np.nanmin(filled, axis=1) - centre, np.nanmax(filled, axis=1) - centre
    widest = max(float((high - low).max()), np.finfo(float).tiny)
    room = max(1.1 * float((high[1:] - low[:-1]).max(initial=0)), 0.3 * widest)
    base = -room * np.arange(len(x)) - centre
    return base[:, None], (low[-1] - room * (len(x) - 1) - 0.3 * widest, high[0] + 0.3 * widest)


def _new_panels(count: int, columns: int, channels: int) -> list[Axes]:
    """Return the panels of a new figure; only the lowest of each column are labelled."""
    import matplotlib.pyplot as plt

    columns = min(columns, count)
    rows = -(-count // columns)
    size = (2.9 * columns, (0.45 + 0.45 * channels) * rows + 0.3)
    _, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", sharex=True, squeeze=False)
    panels = list(grid.ravel())
    for ax in panels[count:]:
        ax.remove()
    for ax in panels[max(count - columns, 0) : count]:
        ax.tick_params(labelbottom=True)
    return panels[:count]
