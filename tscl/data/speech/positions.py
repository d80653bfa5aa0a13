"""Where sensors sit, flattened onto the unit square."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from scipy.spatial import KDTree

from tscl.data.recording import Channels
from tscl.errors import ConfigError, DataError

log = logging.getLogger(__name__)

SAME_PLACE = 1e-3
"""Sensors closer than this on the unit square count as being at one place."""


def flat_positions(channels: Channels, where: str = "") -> np.ndarray:
    """Project sensor positions from the head onto the unit square.

    An azimuthal equidistant projection of the sphere that fits the sensors best, seen from above, nose up, each axis
    scaled to [0, 1].

    Parameters
    ----------
    channels : Channels
        With ``positions`` (C, 3) in metres.
    where : str
        What the sensors belong to, for messages.

    Returns
    -------
    ndarray, shape (C, 2), float32
        NaN where the position is unknown.

    Raises
    ------
    DataError
        When not one position is known.
    """
    xyz = np.full((len(channels), 3), np.nan) if channels.positions is None else np.asarray(channels.positions)
    known = np.isfinite(xyz).all(axis=1)
    if not known.any():
        raise DataError(
            f"{where or 'the recording'} has no sensor positions: name a montage of mne that has its sensors, such as "
            "montage='easycap-M1'."
        )
    result = np.full((len(channels), 2), np.nan, dtype=np.float32)
    result[known] = flatten(xyz[known])
    _say_shared(channels, result, known, where)
    return result


def project(places: np.ndarray) -> np.ndarray:
    """Project places (n, 3) in metres on the sphere that fits them best, seen from above: (n, 2), rad from its top."""
    places = places - _centre(places)
    across = np.hypot(places[:, 0], places[:, 1])
    polar = np.arctan2(across, places[:, 2])
    return places[:, :2] * np.divide(polar, across, out=np.zeros_like(polar), where=across > 0)[:, None]


def flatten(places: np.ndarray) -> np.ndarray:
    """Project places (n, 3) in metres onto the unit square, (n, 2), as :func:`flat_positions` does."""
    flat = project(places)
    span = np.ptp(flat, axis=0)
    return np.where(span > 0, (flat - flat.min(axis=0)) / np.where(span > 0, span, 1.0), 0.5)


def with_montage(channels: Channels, montage: str) -> Channels:
    """Return the channels with the positions that a montage of mne gives their names, NaN where it has no such name.

    Raises
    ------
    ConfigError
        When mne has no montage of that name.
    """
    import mne

    try:
        places = mne.channels.make_standard_montage(montage).get_positions()["ch_pos"]
    except ValueError as error:
        known = ", ".join(mne.channels.get_builtin_montages())
        raise ConfigError(f"mne has no montage {montage!r}: choose one of {known}.") from error
    by_name = {name.lower(): place for name, place in places.items()}
    unknown = np.full(3, np.nan)
    return replace(channels, positions=np.array([by_name.get(name.lower(), unknown) for name in channels.names]))


def _centre(places: np.ndarray) -> np.ndarray:
    """Centre (3,) of the sphere that fits ``places`` (n, 3) in least squares; below them where they lie in a plane."""
    system = np.column_stack([2 * places, np.ones(len(places))])
    if len(places) >= 4 and np.linalg.matrix_rank(system - system.mean(axis=0), tol=1e-6) >= 3:
        return np.linalg.lstsq(system, (places**2).sum(axis=1), rcond=None)[0][:3]
    return places.mean(axis=0) - [0.0, 0.0, 1.0]


def _say_shared(channels: Channels, flat: np.ndarray, known: np.ndarray, where: str) -> None:
    index = np.flatnonzero(known)
    pairs = KDTree(flat[known]).query_pairs(SAME_PLACE)
    if pairs:
        first, second = (channels.names[index[one]] for one in min(pairs))
        log.warning(
            "%s: %d pairs of sensors sit at one place (%s and %s): the spatial attention weighs them alike; keep one "
            "type of sensor, or check the montage.",
            where or "the recording",
            len(pairs),
            first,
            second,
        )
