"""Checks of the arguments of augmenters: one sentence each."""

from __future__ import annotations

import math

from tscl.augmenters.base import Augmenter
from tscl.errors import ConfigError


def check_within(augmenter: Augmenter, low: float = 0.0, high: float = math.inf, **values: float) -> None:
    """Refuse arguments outside of [low, high].

    Parameters
    ----------
    augmenter : Augmenter
        Whose arguments they are.
    low, high : float
        Smallest and largest value that can work.
    **values : float
        The arguments by name.

    Raises
    ------
    ConfigError
        When one is outside, or NaN.
    """
    for name, value in values.items():
        if not low <= value <= high:
            wanted = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise ConfigError(f"{type(augmenter).__name__}: {name} is {value:g}, it must be {wanted}.")


def check_sfreq(augmenter: Augmenter, sfreq: float) -> None:
    """Refuse a sampling rate (Hz) that is not above 0; raises ConfigError."""
    if not 0 < sfreq < math.inf:
        raise ConfigError(f"{type(augmenter).__name__}: sfreq is {sfreq:g} Hz, give the sampling rate of the windows.")
