"""What made two windows similar, on the head and over the signal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tscl.data.recording import Channels
from tscl.errors import DataError
from tscl.plotting.style import GREY, INK, new_axes, tidy
from tscl.plotting.topomap import RIM, draw_topomap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL = "contribution to similarity"
FLAT = 0.5
"""Sensors that span less than this angle (rad) are fitted into the head; others lie where they are on it."""


def attribution_topomap(
    values: np.ndarray,
    positions: np.ndarray | Channels | Any,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw what each sensor contributed as a topographic map, nose up.

    Parameters
    ----------
    values : ndarray, shape (C,), float
        Contribution of every sensor, such as ``attribution.first[0].sum(axis=1)``.
    positions : ndarray of shape (C, 3), Channels or mne.Info
        Where the sensors sit, m; those without a position are left out, and values at one place are added.
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
        When shapes disagree, a value is not finite, or fewer than three sensors have a position.
    """
    from tscl.data.speech.positions import project

    values, places = np.asarray(values, dtype=np.float64), _places(positions)
    if values.ndim != 1 or places.shape != (len(values), 3) or (names is not None and len(names) != len(values)):
        raise DataError(
            f"values have the shape {values.shape} and positions {places.shape}"
            f"{'' if names is None else f', and there are {len(names)} names'}: expected (C,) and (C, 3), and C names."
        )
    known = np.isfinite(places).all(axis=1)
    at, first, which = np.unique(places[known].round(4), axis=0, return_index=True, return_inverse=True)
    if len(at) < 3:
        raise DataError(
            f"{len(at)} of {len(values)} sensors have a position of their own: a map needs three at least. Read the "
            "recordings with a montage."
        )
    flat = project(at)
    reach = float(np.linalg.norm(flat, axis=1).max())
    shown = None if names is None else np.array([str(name) for name in names])[known][first].tolist()
    summed = np.bincount(which.ravel(), weights=values[known])
    return draw_topomap(summed, flat * RIM / (reach if reach < FLAT else max(reach, np.pi / 2)), shown, LABEL, ax)


def _places(positions: np.ndarray | Channels | Any) -> np.ndarray:
    """Return positions (C, 3) in metres, NaN where unknown."""
    if isinstance(positions, Channels):
        return np.full((len(positions), 3), np.nan) if positions.positions is None else positions.positions
    if isinstance(positions, dict):  # an mne.Info
        places = np.array([channel["loc"][:3] for channel in positions["chs"]], dtype=np.float64)
        places[(places == 0).all(axis=1)] = np.nan
        return places
    return np.asarray(positions, dtype=np.float64)


def attribution_over_signal(
    signal: np.ndarray,
    attribution: np.ndarray,
    times: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw signals over shades of what each moment contributed.

    Parameters
    ----------
    signal : ndarray, shape (T,) or (C, T), float
        One channel, or several that are drawn one below the other on one scale. NaN leaves a gap.
    attribution : ndarray, of the shape of ``signal``, float
        Contribution of every channel and moment, such as ``attribution.first[0]``: red makes alike, blue unlike.
    times : ndarray, shape (T,), optional
        Time of every step, in s; its number by default.
    names : sequence of str, length C, optional
        Of the channels.
    ax : Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        When shapes disagree, or nothing is finite.
    """
    signal, attribution = np.asarray(signal, dtype=np.float64), np.asarray(attribution, dtype=np.float64)
    if signal.ndim not in (1, 2) or attribution.shape != signal.shape or not np.isfinite(signal).any():
        raise DataError(
            f"signal and attribution have shapes {signal.shape} and {attribution.shape}: give both (T,) or (C, T), "
            "with a finite value."
        )
    single = signal.ndim == 1
    signal, attribution = np.atleast_2d(signal), np.nan_to_num(np.atleast_2d(attribution))
    n_channels, n_times = signal.shape
    axis_name = "step" if times is None else "time (s)"
    times = np.arange(n_times) if times is None else np.asarray(times)
    if times.shape != (n_times,) or (names is not None and len(names) != n_channels):
        raise DataError(
            f"{n_times} time steps of {n_channels} channels, but times have the shape {times.shape}"
            f"{'' if names is None else f' and there are {len(names)} names'}: give one each."
        )
    ax = tidy(new_axes(ax, 8, 3 if single else 0.9 + 0.45 * n_channels))
    filled = np.where(np.isfinite(signal).any(axis=1, keepdims=True), signal, 0.0)
    low, high = np.nanmin(filled, axis=1), np.nanmax(filled, axis=1)
    room = 1.1 * (float((high - low).max()) or 1.0)
    base = (low + high) / 2 if single else -room * np.arange(n_channels)
    limits = (base[-1] - room / 2, base[0] + room / 2)
    largest = float(np.abs(attribution).max()) or 1.0
    half = (times[-1] - times[0]) / max(n_times - 1, 1) / 2
    image = ax.pcolorfast(
        (times[0] - half, times[-1] + half),
        limits,
        attribution[::-1],
        cmap="RdBu_r",
        vmin=-1.3 * largest,
        vmax=1.3 * largest,
    )
    ax.plot(times, (signal + (base - (low + high) / 2)[:, None]).T, color=INK, linewidth=0.9)
    ax.set_xlim(times[0] - half, times[-1] + half)
    ax.set_ylim(*limits)
    ax.set_xlabel(axis_name, color=INK)
    ax.grid(visible=False)
    if not single:
        ax.set_yticks(base, [f"{i}" for i in range(n_channels)] if names is None else [str(name) for name in names])
        ax.tick_params(axis="y", length=0)
    elif names is not None:
        ax.set_ylabel(str(names[0]), color=INK)
    size = {"shrink": max(0.25, 1 - 0.06 * (n_channels - 1)), "aspect": 18, "pad": 0.02}
    bar = cast("Figure", ax.figure).colorbar(image, ax=ax, ticks=[-largest, 0, largest], format="%.2g", **size)
    bar.set_label(LABEL, color=INK, fontsize=8)
    bar.outline.set_visible(False)
    bar.ax.tick_params(color=GREY, labelcolor=INK, labelsize=8)
    return ax
