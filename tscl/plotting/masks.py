"""What a learned augmenter keeps of a signal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tscl.errors import DataError
from tscl.plotting.style import GREY, INK, PALETTE, new_axes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def mask_over_signal(
    x: np.ndarray,
    mask: np.ndarray,
    transform: np.ndarray | None = None,
    times: np.ndarray | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a signal with the stretches that a learned augmenter keeps, and the view that it makes.

    Parameters
    ----------
    x : ndarray, shape (T,), float
        One channel of a window.
    mask : ndarray, shape (T,), float
        What is kept of every time step, from 0 to 1; the first output of :meth:`tscl.AutoTCL.explain`.
    transform : ndarray, shape (T,), float, optional
        Factors of that channel; the view is drawn where they are given.
    times : ndarray, shape (T,), optional
        Time of every step; its number by default.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        When the lengths differ.
    """
    shapes = [np.shape(one) for one in (x, mask, transform, times) if one is not None]
    if len(set(shapes)) != 1 or len(shapes[0]) != 1:
        raise DataError(f"signal, mask, transform and times have shapes {shapes}: give one channel, all of one length.")
    times = np.arange(len(x)) if times is None else times
    ax = tidy(new_axes(ax, 8, 3))
    ax.pcolorfast((times[0], times[-1]), (0, 1), np.asarray(mask)[None], cmap="Blues", vmin=0, vmax=2.5).set_transform(
        ax.get_xaxis_transform()
    )
    ax.plot(times, x, color=GREY, linewidth=1.2, label="signal")
    if transform is not None:
        ax.plot(times, transform * mask * x, color=PALETTE[1], linewidth=1.2, label="learned view")
    ax.set_xlim(times[0], times[-1])
    ax.set_title(f"{100 * float(np.mean(mask)):.0f} % kept (shaded)", fontsize=10, color=INK, loc="left")
    ax.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper right")
    return ax
