"""The picture of the idea: patient, trial, window, observation, and what each level's contrast pulls together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tscl.plotting.style import GREY, INK, LEVEL_COLOURS, PALE, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT, RIGHT = 21.0, 77.0
ROWS = {"patient": 53.0, "trial": 37.5, "window": 22.0, "observation": 6.5}
HALF = 5.0
TEXTS = {
    "patient": ("who was recorded", "two windows of one patient", "patients"),
    "trial": ("one stretch of a recording", "two windows of one trial", "trials"),
    "window": ("a slice of a trial", "two views of one window", "windows"),
    "observation": ("one time step", "two views of one time step", "time steps"),
}


def hierarchy(ax: Axes | None = None) -> Axes:
    """Draw the hierarchy patient > trial > window > observation, with the pair that each contrast pulls together.

    Parameters
    ----------
    ax : Axes, optional
        Where to draw; a new figure of 11 x 6.3 inches by default.

    Returns
    -------
    Axes
    """
    ax = new_axes(ax, 11, 6.3)
    ax.set_xlim(0, 110)
    ax.set_ylim(0, 63)
    ax.set_aspect("equal")
    ax.axis("off")
    ax.text(LEFT, 60.5, "what the data hold", fontsize=11, color=GREY, va="center")
    ax.text(83, 60.5, "pulled together", fontsize=11, color=GREY, va="center", ha="left")
    for level, y in ROWS.items():
        description, pair, other = TEXTS[level]
        ax.text(0.5, y + 1.3, level, fontsize=15, fontweight="bold", color=LEVEL_COLOURS[level], va="center")
        ax.text(0.5, y - 1.7, description, fontsize=10, color=INK, va="center")
        _pair(ax, y + 2.7, LEVEL_COLOURS[level])
        ax.text(83, y - 0.7, pair, fontsize=10.5, color=INK, va="center")
        ax.text(83, y - 3.2, f"away from other {other}", fontsize=10, color=GREY, va="center")
    _patients(ax)
    _trials(ax)
    _windows(ax)
    _observations(ax)
    return ax


def heartbeats(time: np.ndarray) -> np.ndarray:
    """Return an electrocardiogram-like trace of unit height, one beat a unit of ``time`` (n,)."""
    phase = np.mod(time, 1)
    waves = [(0.24, 0.030, 0.13), (0.415, 0.012, -0.10), (0.45, 0.016, 1.0), (0.49, 0.014, -0.22), (0.70, 0.050, 0.27)]
    trace = sum(height * np.exp(-((phase - at) ** 2) / (2 * width**2)) for at, width, height in waves)
    return np.asarray(trace) * (1 + 0.08 * np.sin(1.7 * np.floor(time)))


def _box(ax: Axes, x0: float, x1: float, y: float, half: float, edge: str, face: str, **style: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    shape = "round,pad=0,rounding_size=0.9"
    ax.add_patch(FancyBboxPatch((x0, y - half), x1 - x0, 2 * half, boxstyle=shape, ec=edge, fc=face, **style))


def _tint(colour: str, strength: float = 0.12) -> str:
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = (1 - strength * (1 - value) for value in to_rgb(colour))
    return to_hex((red, green, blue))


def _trace(ax: Axes, x0: float, x1: float, y: float, times: tuple[float, float], colour: str, width: float) -> None:
    time = np.linspace(*times, 900)
    x = np.linspace(x0, x1, 900)
    ax.plot(x, y - 1.9 + 4.8 * heartbeats(time), color=colour, linewidth=width, solid_joinstyle="round", zorder=5)


def _zoom(ax: Axes, x0: float, x1: float, above: str, below: str) -> None:
    """Shade the funnel from a piece of one row to the whole of the next."""
    top, bottom = ROWS[above] - HALF, ROWS[below] + HALF
    ax.fill([x0, x1, RIGHT, LEFT], [top, top, bottom, bottom], color=_tint(LEVEL_COLOURS[above], 0.16), lw=0, zorder=0)


def _patients(ax: Axes) -> None:
    from matplotlib.patches import Circle, Wedge

    y, colour, width = ROWS["patient"], LEVEL_COLOURS["patient"], 17.6
    for number, name in enumerate("ABC"):
        x0 = LEFT + number * (width + 1.6)
        ink, face = (colour, _tint(colour)) if number == 0 else (GREY, "white")
        _box(ax, x0, x0 + width, y, HALF, ink if number == 0 else PALE, face, lw=1.6)
        ax.add_patch(Circle((x0 + 3.4, y + 1.9), 1.25, color=ink, lw=0, zorder=5))
        ax.add_patch(Wedge((x0 + 3.4, y - 2.2), 2.4, 0, 180, color=ink, lw=0, zorder=5))
        ax.text(x0 + 3.4, y - 3.6, name, fontsize=9, color=ink, ha="center", va="center")
        _trace(ax, x0 + 6.6, x0 + width - 1, y - 0.3, (number * 4.0, number * 4.0 + 4), ink, 1.0)
    _zoom(ax, LEFT, LEFT + width, "patient", "trial")


def _trials(ax: Axes) -> None:
    y, colour = ROWS["trial"], LEVEL_COLOURS["trial"]
    width = (RIGHT - LEFT) / 4
    for number in range(4):
        x0, x1 = LEFT + number * width + 0.5 * (number > 0), LEFT + (number + 1) * width - 0.5 * (number < 3)
        chosen = number == 1
        _box(ax, x0, x1, y, HALF, colour if chosen else PALE, _tint(colour) if chosen else "white", lw=1.6)
        times = (3 * number + 0.0, 3 * number + 3.0)
        _trace(ax, x0 + 0.7, x1 - 0.7, y - 0.3, times, colour if chosen else GREY, 1.2)
        if chosen:
            _zoom(ax, x0, x1, "trial", "window")


def _windows(ax: Axes) -> None:
    y, colour = ROWS["window"], LEVEL_COLOURS["window"]
    _box(ax, LEFT, RIGHT, y, HALF, PALE, "white", lw=1.6)
    step = (RIGHT - LEFT) / 6
    chosen = (LEFT + 2 * step, LEFT + 4 * step)
    _trace(ax, LEFT + 0.3, RIGHT - 0.3, y - 0.1, (3.0, 6.0), GREY, 1.4)
    _box(ax, *chosen, y, HALF, colour, _tint(colour), lw=1.8)
    _trace(ax, *chosen, y - 0.1, (4.0, 5.0), colour, 1.8)
    for number in (0, 1, 3, 4):
        x0, x1 = LEFT + number * step + 0.6, LEFT + (number + 2) * step - 0.6
        height = y - 3.4 if number % 2 == 0 else y - 4.2
        ax.plot([x0, x1], [height, height], color=GREY, linewidth=2.2, solid_capstyle="round", zorder=6, alpha=0.75)
    _zoom(ax, *chosen, "window", "observation")


def _observations(ax: Axes) -> None:
    y, colour = ROWS["observation"], LEVEL_COLOURS["observation"]
    _box(ax, LEFT, RIGHT, y, HALF, PALE, "white", lw=1.6)
    _trace(ax, LEFT + 1.5, RIGHT - 1.5, y - 0.1, (4.0, 5.0), PALE, 1.4)
    time = np.linspace(4.0, 5.0, 41)[1:-1]
    x = LEFT + 1.5 + (RIGHT - LEFT - 3) * (time - 4)
    value = y - 2.0 + 4.8 * heartbeats(time)
    ax.scatter(x, value, s=16, color=GREY, zorder=6, linewidths=0)
    peak = int(np.argmax(value))
    ax.plot([x[peak]] * 2, [y - 4.4, value[peak]], color=colour, linewidth=1.2, zorder=6, linestyle=(0, (2, 2)))
    ax.scatter(x[peak], value[peak], s=75, color=colour, zorder=7, linewidths=0)


def _pair(ax: Axes, y: float, colour: str) -> None:
    """Two discs that attract, and a grey one that is pushed away."""
    ax.plot([84.2, 89.8], [y, y], color=colour, linewidth=2.2, zorder=4)
    ax.scatter([84.2, 89.8], [y, y], s=120, color=colour, zorder=5, linewidths=0)
    ax.plot([89.8, 101], [y, y], color=PALE, linewidth=1.6, linestyle=(0, (3, 2.5)), zorder=3)
    ax.scatter([101], [y], s=120, color="white", edgecolors=GREY, linewidths=1.6, zorder=5)
