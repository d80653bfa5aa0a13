"""NumPy arrays, ``.npy`` / ``.npz`` files and the processed layout of the COMET authors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tscl.data.recording import Channels, Recording
from tscl.data.windows import WindowDataset
from tscl.errors import DataError, DataNotFoundError

ID_KEYS = ("site", "patient", "session", "recording", "trial")


def _names(ch_names: Sequence[str] | None, n_channels: int, where: str) -> tuple[str, ...]:
    if ch_names is None:
        return tuple(f"ch{i}" for i in range(n_channels))
    names = tuple(str(name) for name in ch_names)
    if len(names) != n_channels:
        raise DataError(f"{where}: {n_channels} channels but {len(names)} channel names: give one name a channel.")
    return names


def _types(ch_types: str | Sequence[str], n_channels: int) -> tuple[str, ...]:
    return (ch_types,) * n_channels if isinstance(ch_types, str) else tuple(ch_types)


def finite_float(values: Any, where: str) -> np.ndarray:
    """Return real numbers as float32; infinite values and other types are a DataError that names ``where``."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{where}: values have dtype {array.dtype}, expected real numbers.")
    array = array.astype(np.float32, copy=False)
    if np.isinf(array).any():
        raise DataError(f"{where}: the data hold infinite values: mark missing values by NaN instead.")
    return array


def pad_stack(series: Sequence[np.ndarray]) -> np.ndarray:
    """Stack series of unequal length; the shorter ones are padded with NaN at the end.

    Parameters
    ----------
    series : sequence of ndarray, each of shape (C, T_i)
        The series; all have the same number of channels.

    Returns
    -------
    ndarray, shape (n, C, max T_i), float32

    Raises
    ------
    DataError
        When a series is not two-dimensional or has another number of channels.

    Examples
    --------
    >>> import numpy as np
    >>> pad_stack([np.ones((1, 2)), np.ones((1, 3))])[0]
    array([[ 1.,  1., nan]], dtype=float32)
    """
    if len(series) == 0:
        raise DataError("nothing to stack: the list of series is empty.")
    for number, item in enumerate(series):
        if np.ndim(item) != 2:
            raise DataError(f"series {number} has shape {np.shape(item)}, expected (channels, times).")
        if len(item) != len(series[0]):
            raise DataError(
                f"series {number} has {len(item)} channels, series 0 has {len(series[0])}: pick the same ones."
            )
    out = np.full((len(series), len(series[0]), max(np.shape(item)[1] for item in series)), np.nan, dtype=np.float32)
    for row, item in zip(out, series, strict=True):
        row[:, : np.shape(item)[1]] = item
    return out


def from_numpy(
    X: np.ndarray | Sequence[np.ndarray],
    ids: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
    y: Sequence[Any] | np.ndarray | None = None,
    *,
    sfreq: float = 1.0,
    ch_names: Sequence[str] | None = None,
    ch_types: str | Sequence[str] = "misc",
    unit: str = "a.u.",
    target: str = "label",
    metadata: pd.DataFrame | None = None,
) -> WindowDataset:
    """Make a window data set of arrays in memory.

    Parameters
    ----------
    X : ndarray, shape (n, C, T), or sequence of n arrays (C, T_i)
        Windows; NaN marks missing values. Unequal lengths are padded with NaN.
    ids : mapping of str to sequence of length n, optional
        Id of every window for each level, coarse to fine, such as ``{"patient": [...], "trial": [...]}``. Without it
        every window is a trial of its own.
    y : sequence of length n, optional
        Labels; they become the column ``target``.
    sfreq : float
        Sampling rate in Hz.
    ch_names : sequence of str, optional
        Channel names, ``ch0, ch1, ...`` by default.
    ch_types : str or sequence of str
        MNE channel type of all or of each channel.
    unit : str
        Physical unit of the values.
    target : str
        Name of the label column.
    metadata : DataFrame, n rows, optional
        Further columns.

    Returns
    -------
    WindowDataset

    Raises
    ------
    DataError
        When ``X`` is not three-dimensional or holds infinite values, or ids, labels or metadata have another length.

    Examples
    --------
    >>> import numpy as np
    >>> from_numpy(np.zeros((4, 2, 50)), {"patient": list("aabb")}, y=[0, 0, 1, 1], sfreq=100.0)
    WindowDataset(4 windows, 2 channels, 50 times at 100 Hz; 2 patients)
    """
    if isinstance(X, (list, tuple)) and len(X) and np.ndim(X[0]) == 2:
        X = pad_stack([finite_float(item, f"X[{number}]") for number, item in enumerate(X)])
    X = np.asarray(X)
    if X.ndim != 3:
        remedy = "give a univariate set as X[:, None, :]" if X.ndim == 2 else "merge or drop the other axes"
        raise DataError(f"X has shape {X.shape}, expected (n_windows, n_channels, n_times): {remedy}.")
    X = finite_float(X, "X")
    table = pd.DataFrame(index=range(len(X))) if metadata is None else metadata.reset_index(drop=True).copy()
    if len(table) != len(X):
        raise DataError(f"X has {len(X)} windows but metadata has {len(table)} rows: give one row a window.")
    ids = {"trial": [f"{i:06d}" for i in range(len(X))]} if ids is None else ids
    columns = {**ids, **({} if y is None else {target: y})}
    for name, values in columns.items():
        if np.ndim(values) != 1 or len(values) != len(X):
            raise DataError(
                f"{name!r} has shape {np.shape(values)} but X has {len(X)} windows: give one value a window."
            )
        column = pd.Series(np.asarray(values))
        if name in ids:
            if column.isna().any():
                raise DataError(f"the ids of level {name!r} have missing values: give every window an id.")
            column = column.astype(str)
        table[name] = column
    if "onset" not in table:
        table["onset"] = 0.0
    if "source" not in table:
        table["source"] = ""
    channels = Channels(_names(ch_names, X.shape[1], "X"), _types(ch_types, X.shape[1]), unit, sfreq)
    return WindowDataset(X, table, channels, tuple(ids), None if y is None else target)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an ``.npz`` by name, that of an ``.npy`` as ``"X"``; objects are refused."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"X": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{path} does not exist: check the path.") from error
    except Exception as error:
        raise DataError(f"{path} cannot be read as a NumPy file ({error}): save it again without objects.") from error


def _load(path: Path, key: str | None) -> tuple[str, dict[str, np.ndarray]]:
    arrays = load_arrays(path)
    if path.suffix.lower() == ".npy" and "X" in arrays:
        return "X", arrays
    if key is None:
        candidates: list[str] = [name for name in ("X", "x", "data") if name in arrays] or [
            name for name, array in arrays.items() if array.ndim in (2, 3)
        ]
        key = candidates[0] if len(candidates) == 1 or candidates[:1] in (["X"], ["x"], ["data"]) else None
    if key is None or key not in arrays:
        raise DataError(f"{path}: which array holds the signals is unclear, it has {sorted(arrays)}: name one by key=.")
    return key, arrays


def read_npz(
    path: str | Path,
    *,
    key: str | None = None,
    sfreq: float | None = None,
    ch_names: Sequence[str] | None = None,
    ch_types: str | Sequence[str] = "misc",
    unit: str = "a.u.",
) -> Recording | list[Recording]:
    """Read a ``.npy`` or ``.npz`` file.

    Parameters
    ----------
    path : str or Path
        The file. In an ``.npz``, ``sfreq``, ``ch_names``, ``y`` (``y_train`` beside ``X_train``) and the ids
        ``patient``, ``session``, ``recording``, ``trial``, ... are used where they are present.
    key : str, optional
        Array that holds the signals; ``X`` or the only array with two or three axes by default.
    sfreq : float, optional
        Sampling rate in Hz; 1 where neither the file nor the argument says.
    ch_names, ch_types, unit
        As in :func:`from_numpy`.

    Returns
    -------
    Recording or list of Recording
        One recording for signals (C, T); a list, one a trial, for (n, C, T).

    Raises
    ------
    DataError
        When the array has another number of axes, holds infinite values or objects, or ids have another length.
    """
    path = Path(path)
    key, arrays = _load(path, key)
    X = arrays[key]
    if X.ndim not in (2, 3):
        raise DataError(f"{path}: {key} has shape {X.shape}, expected (channels, times) or (trials, channels, times).")
    X = finite_float(X, str(path))
    if sfreq is None:
        sfreq = float(arrays["sfreq"]) if "sfreq" in arrays else 1.0
    if ch_names is None and "ch_names" in arrays:
        ch_names = [str(name) for name in arrays["ch_names"]]
    n_channels = X.shape[-2]
    channels = Channels(_names(ch_names, n_channels, str(path)), _types(ch_types, n_channels), unit, sfreq)
    if X.ndim == 2:
        return Recording(X, channels, source=str(path))
    y_key = re.sub("^[Xx]", "y", key)
    columns = {name: arrays[name] for name in (*ID_KEYS, y_key) if name in arrays and name != key}
    for name, values in columns.items():
        if values.shape != (len(X),):
            raise DataError(
                f"{path}: {name} has shape {values.shape} but there are {len(X)} trials: give one value a trial."
            )
    recordings = []
    for number, signals in enumerate(X):
        ids = {level: str(columns[level][number]) for level in ID_KEYS if level in columns}
        ids.setdefault("trial", f"{path.stem}/{number:03d}")
        labels = {"label": columns[y_key][number].item()} if y_key in columns else {}
        recordings.append(Recording(signals, channels, ids, labels, source=str(path)))
    return recordings


def read_comet_layout(
    folder: str | Path,
    *,
    sfreq: float,
    ch_names: Sequence[str] | None = None,
    ch_types: str | Sequence[str] = "misc",
    unit: str = "a.u.",
) -> list[Recording]:
    """Read the processed layout of the COMET authors (Wang et al., NeurIPS 2023).

    Parameters
    ----------
    folder : str or Path
        Holds ``Feature/feature_ID.npy``, each of shape (trials, T, C), and ``Label/label.npy``, of shape (people, 2):
        label and id, counted from 1.
    sfreq : float
        Sampling rate in Hz (AD 256, PTB 250, TDBrain 256).
    ch_names, ch_types, unit
        As in :func:`from_numpy`.

    Returns
    -------
    list of Recording
        One a trial, with the ids ``patient`` (``"17"``) and ``trial`` (``"17/003"``) and the label column ``label``.

    Raises
    ------
    DataNotFoundError
        When the folder lacks a part of the layout.
    DataError
        When a file is damaged, a shape is another one, or a person has no label.
    """
    folder = Path(folder)
    label_path = folder / "Label" / "label.npy"
    if not label_path.is_file():
        raise DataNotFoundError(
            f"{label_path} does not exist: the layout needs Feature/feature_ID.npy and Label/label.npy."
        )
    table = _load(label_path, None)[1]["X"]
    if table.ndim != 2 or table.shape[1] != 2:
        raise DataError(f"{label_path} has shape {table.shape}, expected (people, 2): label and id.")
    labels = {int(person): int(label) for label, person in table}
    found = {int(match[1]): p for p in (folder / "Feature").glob("*.npy") if (match := re.search(r"_(\d+)$", p.stem))}
    if not found:
        raise DataNotFoundError(f"{folder / 'Feature'} has no feature_ID.npy files: one a person is expected.")
    recordings = []
    for person, path in sorted(found.items()):
        if person not in labels:
            raise DataError(f"{path}: {label_path} has no row for id {person}: add its label.")
        X = _load(path, None)[1]["X"]
        if X.ndim != 3:
            raise DataError(f"{path} has shape {X.shape}, expected (trials, times, channels).")
        X = finite_float(X, str(path)).transpose(0, 2, 1)
        channels = Channels(_names(ch_names, X.shape[1], str(path)), _types(ch_types, X.shape[1]), unit, sfreq)
        for number, signals in enumerate(X):
            ids = {"patient": str(person), "trial": f"{person}/{number:03d}"}
            recordings.append(Recording(signals, channels, ids, {"label": labels[person]}, source=str(path)))
    return recordings
