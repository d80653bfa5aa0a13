"""From ``mne.Info`` to :class:`~tscl.data.Channels` and back: names, types, sensors; nothing about the person."""

from __future__ import annotations

from typing import Any

import numpy as np

from tscl.data.recording import FIELDS, Channels, common_unit

MEG = tuple(FIELDS)
COIL_TYPE = 0xFFFF
"""The bits of MNE's coil type that are not the grade of a compensation."""


def channels_of(info: Any) -> Channels:
    """Describe the channels of an ``mne.Info``.

    Parameters
    ----------
    info : mne.Info
        Its sampling rate, types and sensors; projectors, digitised points and subject are left behind.

    Returns
    -------
    Channels
        Positions in metres, head coordinates (device coordinates of MEG sensors where ``dev_head_t`` is unknown).
    """
    from mne.transforms import apply_trans

    types = tuple(info.get_channel_types())
    locations = np.array([channel["loc"] for channel in info["chs"]], dtype=float).reshape(-1, 12)
    positions, axes = locations[:, :3].copy(), locations[:, 3:].reshape(-1, 3, 3)
    positions[~np.isfinite(positions).all(axis=1) | (positions == 0).all(axis=1)] = np.nan
    meg = np.array([kind in MEG for kind in types], dtype=bool)
    coils = None
    if meg.any():
        if info["dev_head_t"] is not None:
            positions[meg] = apply_trans(info["dev_head_t"], positions[meg])
            axes = axes @ info["dev_head_t"]["trans"][:3, :3].T
        coils = np.full((len(types), 10), np.nan)
        coils[meg, 0] = [
            int(channel["coil_type"]) & COIL_TYPE for channel, one in zip(info["chs"], meg, strict=True) if one
        ]
        coils[meg, 1:] = axes[meg].reshape(-1, 9)
    return Channels(
        tuple(info["ch_names"]),
        types,
        common_unit(types),
        info["sfreq"],
        None if np.isnan(positions).all() else positions,
        coils,
    )


def info_of(channels: Channels) -> Any:
    """Build an ``mne.Info`` with the sensors in their places.

    Parameters
    ----------
    channels : Channels
        Of types that MNE knows.

    Returns
    -------
    mne.Info
        Sensors in head coordinates, so ``dev_head_t`` is the identity where there are MEG sensors. MNE keeps SI units:
        multiply signals by ``1 / unit_of(type)[1]`` before they are joined with it.
    """
    import mne

    types = list(channels.types)
    info = mne.create_info(list(channels.names), channels.sfreq, types, verbose="error")
    if channels.positions is None:
        return info
    known = np.isfinite(channels.positions).all(axis=1)
    electrodes = {
        name: place
        for name, place, is_known, kind in zip(channels.names, channels.positions, known, types, strict=True)
        if is_known and kind not in MEG
    }
    if electrodes:
        montage = mne.channels.make_dig_montage(electrodes, coord_frame="head")
        info.set_montage(montage, on_missing="ignore", verbose="error")
    for channel, place, coil in zip(info["chs"], channels.positions, _coils(channels), strict=True):
        if np.isfinite(place).all() and np.isfinite(coil).all():
            channel["coil_type"] = int(coil[0])
            channel["loc"] = np.concatenate([place, coil[1:]])
    if any(kind in MEG for kind in types):
        info["dev_head_t"] = mne.Transform("meg", "head", np.eye(4))
    return info


def _coils(channels: Channels) -> np.ndarray:
    return np.full((len(channels), 10), np.nan) if channels.coils is None else channels.coils
