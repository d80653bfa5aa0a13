"""The palette and the few habits that all figures share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVEL_COLOURS = {"patient": "#33598f", "trial": "#23877b", "window": "#c9771c", "observation": "#bb3e57"}
PALETTE = (
    "#33598f",
    "#c9771c",
    "#23877b",
    "#bb3e57",
    "#7a5ba6",
    "#5f9fc9",
    "#8a6d3b",
    "#d58fb0",
    "#6b8e3d",
    "#4d4d4d",
)
INK = "#2b2f36"
GREY = "#8b919a"
PALE = "#d9dce1"


def new_axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return ``ax``, or the axes of a new figure of ``width`` x ``height`` inches."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def tidy(ax: Axes) -> Axes:
    """Remove the upper and right frame, soften the rest, and draw a light horizontal grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(PALE)
    ax.tick_params(color=PALE, labelcolor=INK)
    ax.grid(axis="y", color=PALE, linewidth=0.6, alpha=0.7)
    ax.set_axisbelow(True)
    return ax


def save_figure(ax: Axes, path: str | Path) -> None:
    """Write the figure of ``ax`` to ``path`` and close it.

    Parameters
    ----------
    ax : Axes
    path : path
        Its suffix names the format.
    """
    import matplotlib.pyplot as plt

    figure = cast("Figure", ax.figure)
    figure.savefig(path, dpi=120)
    plt.close(figure)
