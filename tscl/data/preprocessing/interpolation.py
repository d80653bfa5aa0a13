"""Weights by which MNE interpolates missing EEG and MEG channels from their neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

from tscl.data.readers.mne_info import MEG, info_of
from tscl.data.recording import Channels, unit_of

INTERPOLATED = ("eeg", "mag", "grad")
SHARE = 0.25
"""Of the channels of a type at most so many are interpolated."""
FEWEST = 4


def kinds_beside(kind: str) -> tuple[str, ...]:
    """Return the channel types that channels of a type are interpolated from."""
    return ("mag", "grad") if kind in MEG else (kind,)


def why_not(channels: Channels, missing: np.ndarray, kind: str) -> str:
    """Say why the missing channels of a type cannot be interpolated; empty when they can.

    Parameters
    ----------
    channels : Channels
        All channels, with what is known of their positions.
    missing : ndarray of bool, shape (C,)
    kind : str
        MNE channel type.
    """
    if kind not in INTERPOLATED:
        return f"{kind} channels are not interpolated"
    of_kind = np.array([one == kind for one in channels.types])
    if (missing & of_kind).sum() > SHARE * of_kind.sum():
        return f"more than {SHARE:.0%} of {of_kind.sum()} {kind} channels"
    placed = _placed(channels, kind)
    if not placed[missing & of_kind].all():
        return "their positions are unknown"
    if (placed & ~missing & np.isin(channels.types, kinds_beside(kind))).sum() < FEWEST:
        return f"fewer than {FEWEST} neighbours with a position"
    return ""


def interpolation_weights(channels: Channels, missing: np.ndarray) -> np.ndarray:
    """Compute how missing channels follow from the others: spherical splines for EEG, field mapping for MEG.

    Interpolation is linear, so MNE is asked once, with a unit impulse in each channel that is there.

    Parameters
    ----------
    channels : Channels
        All channels with positions, and coils for MEG.
    missing : ndarray of bool, shape (C,)
        Which ones; :func:`why_not` must have no objection.

    Returns
    -------
    ndarray, shape (n_missing, C), float64
        For signals in the units of :func:`~tscl.data.recording.unit_of`; 0 in the columns of missing channels.
    """
    import mne

    weights = np.zeros((int(missing.sum()), len(channels)))
    rows = np.cumsum(missing) - 1
    for family in (("eeg",), ("mag", "grad")):
        members = np.isin(channels.types, family)
        if not (missing & members).any():
            continue
        used = np.flatnonzero(members & np.logical_or.reduce([_placed(channels, kind) for kind in family]))
        there = np.flatnonzero(~missing[used])
        info = info_of(channels.pick(used))
        info["bads"] = [channels.names[i] for i in used if missing[i]]
        impulses = np.zeros((len(used), len(there)))
        impulses[there, np.arange(len(there))] = 1.0
        raw = mne.io.RawArray(impulses, info, verbose="error")
        raw.interpolate_bads(mode="fast", origin=_origin(info, np.asarray(channels.positions)[used]), verbose="error")
        scale = np.array([unit_of(channels.types[i])[1] for i in used])
        response = raw.get_data() * scale[:, None] / scale[there]
        for i in np.flatnonzero(missing[used]):
            weights[rows[used[i]], used[there]] = response[i]
    return weights


def _placed(channels: Channels, kind: str) -> np.ndarray:
    """Which channels have a position, and an orientation where they are MEG sensors; shape (C,), bool."""
    if channels.positions is None or (kind in MEG and channels.coils is None):
        return np.zeros(len(channels), dtype=bool)
    known = np.isfinite(channels.positions).all(axis=1)
    return known & np.isfinite(channels.coils).all(axis=1) if kind in MEG and channels.coils is not None else known


def _origin(info: Any, places: np.ndarray) -> np.ndarray:
    """Centre of the head (m): MNE's fit to electrodes, or, of other sensors and too few electrodes, a sphere's."""
    import mne

    try:
        return mne.bem.fit_sphere_to_headshape(info, verbose="error")[1]
    except (RuntimeError, ValueError):
        system = np.column_stack([2 * places, np.ones(len(places))])
        return np.linalg.lstsq(system, (places**2).sum(axis=1), rcond=None)[0][:3]
