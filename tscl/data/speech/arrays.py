"""Brain signals and speech that are arrays already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from tscl.data.recording import Channels
from tscl.data.speech.positions import flatten
from tscl.data.windows import WindowDataset
from tscl.errors import DataError
from tscl.types import Batch, Sensors

UNKNOWN = "?"
"""Subject of windows of which nobody is said to be the subject."""


class PairedWindows(WindowDataset):
    """Windows in memory with positions, subject and the speech features that go with each.

    Parameters
    ----------
    signals : ndarray, shape (n, C, T), float32
        NaN where a window has no such sensor.
    positions : ndarray, shape (n, C, 2), float32
        Sensors on the unit square, NaN where unknown.
    speech : ndarray, shape (n, F, T), float32, or None
        Features; None where the windows are only to be encoded.
    metadata : DataFrame, n rows
        With ``patient`` and ``segment``.
    subjects : sequence of str
        Subjects in the order of their index; others get -1.
    """

    def __init__(
        self,
        signals: np.ndarray,
        positions: np.ndarray,
        speech: np.ndarray | None,
        metadata: pd.DataFrame,
        subjects: Sequence[str],
    ) -> None:
        n = signals.shape[1]
        channels = Channels(tuple(f"ch{i}" for i in range(n)), ("misc",) * n, "a.u.", 1.0)
        super().__init__(signals, metadata, channels, levels=("patient",))
        self.positions, self.speech, self.subjects = positions, speech, list(subjects)

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> Batch:
        index = np.atleast_1d(np.arange(len(self))[index])
        batch = super().__getitem__(index)
        rows = self.rows[index]
        order = {subject: number for number, subject in enumerate(self.subjects)}
        table = self.metadata.iloc[index]
        subject = np.array([order.get(one, -1) for one in table["patient"]], dtype=np.int64)
        batch.sensors = Sensors(torch.from_numpy(self.positions[rows]), torch.from_numpy(subject))
        batch.levels["segment"] = torch.from_numpy(table["segment"].to_numpy(dtype=np.int64))
        if self.speech is not None:
            batch.paired["speech"] = torch.from_numpy(self.speech[rows])
        return batch


def paired_windows(
    signals: np.ndarray,
    speech: Any = None,
    subject: Any = None,
    positions: Any = None,
    subjects: Sequence[str] | None = None,
) -> PairedWindows:
    """Check arrays against each other and join them.

    Parameters
    ----------
    signals : ndarray, shape (n, C, T), float32
    speech : ndarray, shape (n, F, T), optional
        Equal rows are one segment.
    subject : array of n ids, optional
        One subject for all by default.
    positions : ndarray, shape (C, d) or (n, C, 2), or mapping of subject to (C_s, d)
        Sensor positions: d = 2 on the unit square, or d = 3 in metres, which are projected. NaN where unknown. A
        subject with fewer sensors has its own in the first rows of the signals, and NaN in the others.
    subjects : sequence of str, optional
        Subjects in the order of their index; those there are by default.

    Raises
    ------
    DataError
        When shapes do not fit each other, or positions are missing.
    """
    n, c, _ = signals.shape
    names = np.full(n, UNKNOWN, dtype=object) if subject is None else np.asarray(subject).astype(str).astype(object)
    if names.shape != (n,):
        raise DataError(f"subject has shape {names.shape} for {n} windows: give one id a window.")
    segment = np.arange(n)
    if speech is not None:
        speech = np.ascontiguousarray(speech, dtype=np.float32)
        if speech.ndim != 3 or len(speech) != n:
            raise DataError(f"speech has shape {speech.shape} for {n} windows: expected (windows, features, times).")
        if speech.shape[2] != signals.shape[2]:
            raise DataError(
                f"speech has {speech.shape[2]} times and the windows {signals.shape[2]}: bring both to one sampling "
                "rate and length."
            )
        if not np.isfinite(speech).all():
            raise DataError("speech holds infinite or missing values: leave these windows out.")
        segment = same_rows(speech)
    table = pd.DataFrame({"patient": names, "segment": segment})
    places = _places(positions, names, n, c)
    return PairedWindows(signals, places, speech, table, sorted(set(names)) if subjects is None else subjects)


def same_rows(speech: np.ndarray) -> np.ndarray:
    """Number the distinct rows of an array (n, ...) from 0 in the order in which they come, (n,) int64."""
    return pd.factorize(np.array([row.tobytes() for row in speech], dtype=object))[0].astype(np.int64)


def _places(positions: Any, names: np.ndarray, n: int, c: int) -> np.ndarray:
    result = np.full((n, c, 2), np.nan, dtype=np.float32)
    if isinstance(positions, Mapping):
        by_name = {str(name): _flat(places) for name, places in positions.items()}
        missing = sorted(set(names) - set(by_name))
        if missing:
            raise DataError(f"there are no sensor positions for the subjects {missing}: add them to positions.")
        for row, name in zip(result, names, strict=True):
            places = by_name[name]
            if len(places) > c:
                raise DataError(f"subject {name} has {len(places)} positions but the windows have {c} sensors.")
            row[: len(places)] = places
        return result
    if positions is None:
        raise DataError(
            "sensor positions are missing: pass positions, (sensors, 2) on the unit square or (sensors, 3) in metres."
        )
    places = np.asarray(positions, dtype=np.float32)
    if places.ndim == 3 and len(places) == n and places.shape[1] == c and places.shape[2] == 2:
        _check_square(places)
        return places
    if places.ndim == 2 and len(places) == c:
        result[:] = _flat(places)
        return result
    raise DataError(
        f"positions have shape {places.shape} for windows of {c} sensors: expected ({c}, 2), ({c}, 3), or "
        f"({n}, {c}, 2)."
    )


def _flat(places: Any) -> np.ndarray:
    places = np.asarray(places, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] not in (2, 3):
        raise DataError(f"positions have shape {places.shape}: expected (sensors, 2) or (sensors, 3).")
    known = np.isfinite(places).all(axis=1)
    if not known.any():
        raise DataError("not one sensor position is known: give at least one.")
    if places.shape[1] == 2:
        _check_square(places)
    flat = np.full((len(places), 2), np.nan, dtype=np.float32)
    flat[known] = places[known] if places.shape[1] == 2 else flatten(places[known])
    return flat


def _check_square(places: np.ndarray) -> None:
    known = places[np.isfinite(places)]
    if known.size and not 0 <= known.min() <= known.max() <= 1:
        raise DataError(
            f"two-dimensional positions go from {known.min():g} to {known.max():g}: scale them to the unit square, or "
            "give three-dimensional ones in metres."
        )


def same_sensors(X: Any) -> Any:
    """Bring a list of windows (C_i, T) with different numbers of sensors to the largest, with rows of NaN at the end.

    Anything else is returned as it is.
    """
    if not isinstance(X, (list, tuple)) or {np.ndim(one) for one in X} != {2}:
        return X
    most = max(len(one) for one in X)
    return [np.pad(np.asarray(one, np.float32), ((0, most - len(one)), (0, 0)), constant_values=np.nan) for one in X]
