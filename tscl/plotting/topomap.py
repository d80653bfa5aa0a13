"""A value a sensor, drawn over a head seen from above."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from tscl.errors import DataError
from tscl.plotting.style import GREY, INK, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEAD = 0.095
"""Radius of the head that is drawn."""
RIM = 0.09
"""Where the outermost sensors lie."""


def draw_topomap(
    values: np.ndarray, at: np.ndarray, names: Sequence[str] | None, label: str, ax: Axes | None = None
) -> Axes:
    """Draw values (C,) at places (C, 2) around (0, 0), within ``HEAD``, nose up, and a colour bar with ``label``.

    Raises
    ------
    DataError
        When a value is not finite.
    """
    import mne

    if not np.isfinite(values).all():
        raise DataError(f"{label}: there are NaN or infinity among the values; leave those sensors out.")
    ax = new_axes(ax, 4.6, 4)
    signed = bool((values < 0).any())
    largest = float(np.abs(values).max()) or 1.0
    image, _ = mne.viz.plot_topomap(
        values,
        at,
        sphere=(0.0, 0.0, 0.0, HEAD),
        extrapolate="head",
        cmap="RdBu_r" if signed else "Blues",
        vlim=(-largest if signed else 0.0, largest),
        names=None if names is None else list(names),
        contours=np.linspace(-largest if signed else 0.0, largest, 8 if signed else 6)[1:-1],
        axes=ax,
        show=False,
    )
    for text in ax.texts:
        text.set(fontsize=7, color=INK, verticalalignment="bottom")
    bar = cast("Figure", ax.figure).colorbar(image, ax=ax, shrink=0.7, pad=0.02)
    bar.set_label(label, color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(color=GREY, labelcolor=INK, labelsize=8)
    return ax
