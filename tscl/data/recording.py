"""A recording in memory: signals, channels, who and what it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tscl.errors import DataError

VOLTAGES = ("eeg", "ecg", "eog", "emg", "seeg", "ecog", "dbs", "bio")
FIELDS = {"mag": ("fT", 1e15), "ref_meg": ("fT", 1e15), "grad": ("fT/cm", 1e13)}


def unit_of(channel_type: str) -> tuple[str, float]:
    """Return the unit in which signals of an MNE channel type are kept, and what SI values are multiplied by."""
    return ("uV", 1e6) if channel_type in VOLTAGES else FIELDS.get(channel_type, ("a.u.", 1.0))


def common_unit(types: Sequence[str]) -> str:
    """Return the unit of the most frequent channel type."""
    return unit_of(Counter(types).most_common(1)[0][0])[0] if types else "a.u."


@dataclass(frozen=True, eq=False)
class Channels:
    """What the rows of a signal array are.

    Attributes
    ----------
    names : tuple of str
        Channel names, in the order of the array's rows.
    types : tuple of str
        MNE channel types: ``"eeg"``, ``"mag"``, ``"grad"``, ``"ecg"``, ``"misc"``, ...
    unit : str
        Physical unit of the values: ``"uV"``, ``"mV"``, ``"fT"``, ..., ``"a.u."`` after standardisation.
    sfreq : float
        Sampling rate in Hz.
    positions : ndarray or None, shape (C, 3), float64
        Sensor positions in metres (head coordinates), NaN where unknown.
    coils : ndarray or None, shape (C, 10), float64
        Of MEG sensors MNE's number of the coil's type and the coil's three axes (head coordinates), NaN for others;
        what interpolation of MEG needs beside the positions, and not compared with ``==``.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    unit: str
    sfreq: float
    positions: np.ndarray | None = None
    coils: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "types", tuple(self.types))
        object.__setattr__(self, "sfreq", float(self.sfreq))
        if len(self.names) != len(self.types):
            raise DataError(
                f"{len(self.names)} channel names but {len(self.types)} channel types: give one type a name."
            )
        if self.positions is not None and np.shape(self.positions) != (len(self.names), 3):
            raise DataError(
                f"positions have shape {np.shape(self.positions)}, expected ({len(self.names)}, 3): x, y, z a channel."
            )

    @classmethod
    def unnamed(cls, n_channels: int) -> Channels:
        """Return what is said of arrays of which nothing is known: ``ch0, ch1, ...`` without unit, at 1 Hz."""
        return cls(tuple(f"ch{i}" for i in range(n_channels)), ("misc",) * n_channels, "a.u.", 1.0)

    @property
    def named(self) -> bool:
        """Whether anything is known of the channels; False for :meth:`unnamed` ones, which are not compared."""
        return self != Channels.unnamed(len(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Channels):
            return NotImplemented
        if self.positions is None or other.positions is None:
            return self._key == other._key and self.positions is other.positions
        return self._key == other._key and np.array_equal(self.positions, other.positions, equal_nan=True)

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[tuple[str, ...], tuple[str, ...], str, float]:
        return self.names, self.types, self.unit, self.sfreq

    def __len__(self) -> int:
        return len(self.names)

    def pick(self, index: np.ndarray | list[int]) -> Channels:
        """Return the channels at the integer positions ``index``, in that order.

        A unit that was that of the most frequent type becomes that of the most frequent type among the chosen.
        """
        index = [int(i) for i in index]
        types = tuple(self.types[i] for i in index)
        return replace(
            self,
            names=tuple(self.names[i] for i in index),
            types=types,
            unit=common_unit(types) if types and self.unit == common_unit(self.types) else self.unit,
            positions=None if self.positions is None else self.positions[index],
            coils=None if self.coils is None else self.coils[index],
        )

    def differences(self, other: Channels) -> str:
        """Say in words how ``other`` differs in names, order, sampling rate or unit; empty when it does not."""
        said = []
        if self.names != other.names:
            missing = [n for n in self.names if n not in other.names]
            extra = [n for n in other.names if n not in self.names]
            if missing:
                said.append(f"missing channels {missing}")
            if extra:
                said.append(f"additional channels {extra}")
            if not missing and not extra:
                said.append("the same channels in another order")
        if self.sfreq != other.sfreq:
            said.append(f"sampling rate {other.sfreq:g} Hz instead of {self.sfreq:g} Hz")
        if self.unit != other.unit:
            said.append(f"unit {other.unit!r} instead of {self.unit!r}")
        return "; ".join(said)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-serialisable description; what is unknown is None."""
        return {
            "names": list(self.names),
            "types": list(self.types),
            "unit": self.unit,
            "sfreq": self.sfreq,
            "positions": _listed(self.positions),
            "coils": _listed(self.coils),
        }

    @classmethod
    def from_dict(cls, info: dict[str, Any]) -> Channels:
        """Rebuild what :meth:`to_dict` described."""
        known = {
            name: np.array(info[name], dtype=float) for name in ("positions", "coils") if info.get(name) is not None
        }
        return cls(tuple(info["names"]), tuple(info["types"]), info["unit"], info["sfreq"], **known)


def _listed(table: np.ndarray | None) -> list[list[float | None]] | None:
    if table is None:
        return None
    return [[float(value) if np.isfinite(value) else None for value in row] for row in np.asarray(table)]


@dataclass(frozen=True)
class Annotation:
    """A marked stretch of a recording.

    Attributes
    ----------
    onset, duration : float
        Where it begins and how long it is, s.
    description : str
        What it says.
    """

    onset: float
    duration: float
    description: str


@dataclass
class Recording:
    """One continuous recording.

    Attributes
    ----------
    data : ndarray, shape (C, T), float32
        Signals in ``channels.unit``; NaN where a value is missing.
    channels : Channels
        Names, types, unit, sampling rate (Hz), positions.
    ids : dict of str to str
        The levels above a trial, coarse to fine, such as ``{"patient": "P01", "recording": "P01_1"}``.
    labels : dict of str to Any
        Label columns: diagnosis, task, age, ...
    annotations : list of Annotation
        Marked events, in seconds from the first sample.
    source : str
        File it was read from, for messages and the metadata table.
    bads : sequence of str
        Names of channels that the file or the user marks as bad. They stay in ``data``;
        :class:`~tscl.data.preprocessing.MatchChannels` replaces them.
    """

    data: np.ndarray
    channels: Channels
    ids: dict[str, str] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
    annotations: list[Annotation] = field(default_factory=list)
    source: str = ""
    bads: Sequence[str] = ()

    def __post_init__(self) -> None:
        if np.ndim(self.data) != 2:
            raise DataError(
                f"{self.source or 'recording'}: data has shape {np.shape(self.data)}, expected (channels, times)."
            )
        if len(self.data) != len(self.channels):
            raise DataError(
                f"{self.source or 'recording'}: {len(self.data)} rows of data but {len(self.channels)} channel names."
            )
        self.data = np.ascontiguousarray(self.data, dtype=np.float32)
        self.source = str(self.source)

    @property
    def sfreq(self) -> float:
        """Sampling rate in Hz."""
        return self.channels.sfreq

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.data.shape[1] / self.sfreq

    @property
    def name(self) -> str:
        """Short name for messages: the file's name, or the finest id."""
        return Path(self.source).name if self.source else "/".join(self.ids.values()) or "recording"
