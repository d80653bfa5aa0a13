"""Recordings of another montage, order or rate are mapped to the channels asked for, or refused with what differs."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from tscl.data.preprocessing.interpolation import interpolation_weights, why_not
from tscl.data.preprocessing.steps import Resample, Step
from tscl.data.readers.mne_info import MEG
from tscl.data.recording import VOLTAGES, Channels, Recording
from tscl.data.windows import WindowDataset
from tscl.errors import DataError

log = logging.getLogger("tscl")

RENAMED = {"t3": "t7", "t4": "t8", "t5": "p7", "t6": "p8"}
"""Names of the 10-20 system and what the 10-10 system calls the same places."""
VOLTS = {"uV": 1.0, "mV": 1e3, "V": 1e6}
REMEDY = (
    "Rename, retype or prepare them alike; missing EEG and MEG channels are interpolated, at most a quarter of a type, "
    "where sensor positions are known (raw.set_montage)."
)


def name_key(name: str) -> str:
    """Return what is compared where names differ: case, spaces, a trailing dot and a type in front do not count.

    Examples
    --------
    >>> name_key("EEG Fp1"), name_key("Fc5."), name_key("T3"), name_key("MEG 0111")
    ('fp1', 'fc5', 't7', '0111')
    """
    key = re.sub(r"\s", "", name).rstrip(".").lower()
    key = re.sub(r"^(eeg|meg|ecg|eog|emg)(?=.)", "", key)
    return RENAMED.get(key, key)


def find_names(wanted: Sequence[str], there: Sequence[str]) -> np.ndarray:
    """Find channels by name, or else by :func:`name_key` where that tells them apart.

    Returns
    -------
    ndarray, shape (len(wanted),), int64
        Position among ``there``, -1 where there is no such channel.
    """
    found = np.array([there.index(name) if name in there else -1 for name in wanted], dtype=np.int64)
    free = np.setdiff1d(np.arange(len(there)), found).tolist()
    keys = [name_key(there[i]) for i in free]
    open_keys = [name_key(name) for name, i in zip(wanted, found, strict=True) if i < 0]
    for number, name in enumerate(wanted):
        key = name_key(name)
        if found[number] < 0 and keys.count(key) == 1 and open_keys.count(key) == 1:
            found[number] = free[keys.index(key)]
    return found


def same_rate(one: float, other: float) -> bool:
    """Whether two sampling rates (Hz) are equal but for rounding in a file."""
    return abs(one - other) <= 1e-6 * other


@dataclass(frozen=True)
class Mapping:
    """How signals of some channels become signals of the channels asked for.

    Attributes
    ----------
    order : ndarray, shape (C,), int64
        Which channel is taken; -1 where it is interpolated.
    weights : ndarray, shape (n_missing, C)
        How those that are interpolated follow from the others.
    factor : float
        From one unit to the other.
    changes : tuple of str
        What differs and what is done about it.
    obstacles : tuple of str
        Everything that differs, where nothing can be done about a part of it; empty otherwise.
    """

    order: np.ndarray
    weights: np.ndarray
    factor: float
    changes: tuple[str, ...]
    obstacles: tuple[str, ...]

    def __call__(self, signals: np.ndarray) -> np.ndarray:
        """Map signals (..., C', T) to (..., C, T)."""
        mapped = signals[..., self.order, :] * np.float32(self.factor)
        missing = self.order < 0
        if missing.any():
            used = self.weights.any(axis=0)
            mapped[..., missing, :] = self.weights[:, used] @ mapped[..., used, :]
        return mapped


@lru_cache(maxsize=64)
def match(there: Channels, wanted: Channels, bads: tuple[str, ...] = (), resample: bool = True) -> Mapping:
    """Compare channels with those asked for.

    Parameters
    ----------
    there : Channels
        Those of a recording.
    wanted : Channels
        Those asked for.
    bads : tuple of str
        Channels of ``there`` that count as missing.
    resample : bool
        Whether another sampling rate can be dealt with.

    Returns
    -------
    Mapping
    """
    found = find_names(wanted.names, there.names)
    is_bad = np.array([i >= 0 and there.names[i] in bads for i in found])
    order = np.where(is_bad, -1, found)
    missing = order < 0
    known = _with_places(wanted, there, found)
    found_out = _absences(known, missing, is_bad)  # what differs, and what is done about it
    pairs = [(n, int(i)) for n, i in enumerate(order) if i >= 0]
    types = sorted({(wanted.types[n], there.types[i]) for n, i in pairs if wanted.types[n] != there.types[i]})
    for one, other in types:
        names = [wanted.names[n] for n, i in pairs if (wanted.types[n], there.types[i]) == (one, other)]
        found_out.append((f"type {other!r} instead of {one!r} of {names}", ""))
    unit = there.pick([i for _, i in pairs]).unit if pairs else wanted.unit
    factor = 1.0
    if unit != wanted.unit:
        voltages = {unit, wanted.unit} <= set(VOLTS) and all(kind in VOLTAGES for kind in wanted.types)
        factor = VOLTS[unit] / VOLTS[wanted.unit] if voltages else 1.0
        found_out.append((f"unit {unit!r} instead of {wanted.unit!r}", "converted" if voltages else ""))
    renamed = [f"{there.names[i]} for {wanted.names[n]}" for n, i in pairs if there.names[i] != wanted.names[n]]
    if renamed:
        found_out.append((f"other spellings ({', '.join(renamed)})", "renamed"))
    if [i for _, i in pairs] != sorted(i for _, i in pairs):
        found_out.append(("another order of channels", "put right"))
    if not same_rate(there.sfreq, wanted.sfreq):
        rate = f"sampling rate {there.sfreq:g} Hz instead of {wanted.sfreq:g} Hz"
        found_out.append((rate, "resampled" if resample else ""))
    extra = [there.names[i] for i in np.setdiff1d(np.arange(len(there)), found)]
    if extra:
        found_out.append((f"additional channels {extra}", "left out"))
    changes = tuple(f"{what}: {done}" for what, done in found_out)
    obstacles = tuple(what for what, _ in found_out) if any(not done for _, done in found_out) else ()
    possible = missing.any() and not obstacles
    weights = interpolation_weights(known, missing) if possible else np.zeros((int(missing.sum()), len(wanted)))
    return Mapping(order, weights, factor, changes, obstacles)


def _absences(channels: Channels, missing: np.ndarray, is_bad: np.ndarray) -> list[tuple[str, str]]:
    """Say of every type which channels are missing, and whether they are interpolated."""
    said = []
    for kind in dict.fromkeys(channels.types):
        absent = np.array([one == kind for one in channels.types]) & missing
        if absent.any():
            names = [channels.names[i] for i in np.flatnonzero(absent)]
            what = "bad" if is_bad[absent].all() else "missing or bad" if is_bad[absent].any() else "missing"
            reason = why_not(channels, missing, kind)
            why = f" ({reason})" if reason else ""
            said.append((f"{what} channels {names}{why}", "" if reason else "interpolated"))
    return said


def _with_places(wanted: Channels, there: Channels, found: np.ndarray) -> Channels:
    """The channels asked for with the sensors' places of the recording, and those of ``wanted`` that it does not know.

    MEG sensors keep their places in the helmet and not in the head: ``wanted``'s are moved as those that both have are.
    """
    if there.positions is None:
        return wanted
    positions = np.full((len(wanted), 3), np.nan) if wanted.positions is None else wanted.positions.copy()
    coils = np.full((len(wanted), 10), np.nan) if wanted.coils is None else wanted.coils.copy()
    own = np.full_like(positions, np.nan)
    own[found >= 0] = there.positions[found[found >= 0]]
    known = np.isfinite(own).all(axis=1)
    meg = np.isin(wanted.types, MEG)
    both = meg & known & np.isfinite(positions).all(axis=1)
    if both.sum() >= 3 and wanted.coils is not None:
        rotation, shift = _motion(positions[both], own[both])
        positions[meg] = positions[meg] @ rotation.T + shift
        coils[meg, 1:] = (coils[meg, 1:].reshape(-1, 3, 3) @ rotation.T).reshape(-1, 9)
    positions[known] = own[known]
    if there.coils is not None:
        coils[known & meg] = there.coils[found[known & meg]]
    return replace(wanted, positions=positions, coils=None if np.isnan(coils).all() else coils)


def _motion(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3, 3) and shift (3,) that take places (n, 3) to others with the least squared error."""
    from scipy.spatial.transform import Rotation

    centre, new_centre = before.mean(axis=0), after.mean(axis=0)
    rotation = Rotation.align_vectors(after - new_centre, before - centre)[0].as_matrix()
    return rotation, new_centre - rotation @ centre


def refuse(mapping: Mapping, where: str) -> None:
    """Raise DataError with everything that differs when a mapping has obstacles."""
    if mapping.obstacles:
        raise DataError(f"{where} does not have the channels asked for: {'; '.join(mapping.obstacles)}. {REMEDY}")


def report(mapping: Mapping, where: str) -> None:
    """Log what a mapping changes."""
    if mapping.changes:
        log.info("%s: %s.", where, "; ".join(mapping.changes))


@dataclass(frozen=True)
class MatchChannels(Step):
    """Bring a recording to the given channels: order, spelling, unit, sampling rate; missing and bad ones by MNE.

    Names may differ in case, spaces, a trailing dot, a type in front (``"EEG Fp1"``) and T3, T4, T5, T6 for T7, T8, P7,
    P8. Up to a quarter of the EEG, magnetometer or gradiometer channels is interpolated by MNE (spherical splines,
    field mapping); further channels are left out. What is done is logged.

    Parameters
    ----------
    channels : Channels
        What the recording shall have; ``channels_`` of a fitted estimator, for one.
    """

    channels: Channels

    def __call__(self, recording: Recording) -> Recording:
        """Return the recording with these channels; raises DataError with everything that differs."""
        where = recording.source or recording.name
        mapping = match(recording.channels, self.channels, tuple(recording.bads))
        refuse(mapping, where)
        report(mapping, where)
        return self.apply(mapping, recording)

    def apply(self, mapping: Mapping, recording: Recording) -> Recording:
        """Return the recording as a mapping that was found for its channels has it."""
        there = replace(self.channels, sfreq=recording.sfreq)
        mapped = replace(recording, data=mapping(recording.data), channels=there, bads=())
        if not same_rate(recording.sfreq, self.channels.sfreq):
            mapped = Resample(self.channels.sfreq)(mapped)
        return replace(mapped, channels=self.channels)


def match_windows(data: WindowDataset, channels: Channels) -> WindowDataset:
    """Bring windows to the given channels as :class:`MatchChannels` does; another sampling rate is refused.

    Parameters
    ----------
    data : WindowDataset
        The windows.
    channels : Channels
        What they shall have.

    Returns
    -------
    WindowDataset
        ``data`` itself where nothing differs, or nothing is known of the one or the other.

    Raises
    ------
    DataError
        With everything that differs.
    """
    if not data.channels.named or not channels.named:
        return data
    mapping = match(data.channels, channels, resample=False)
    if not mapping.changes:
        return data
    refuse(mapping, "the WindowDataset")
    report(mapping, "the WindowDataset")
    signals = mapping(data.numpy())
    return WindowDataset(signals, data.metadata, channels, data.levels, data.target, data.classes or None)
