"""Windows x levels: the data set that everything downstream of the files works on."""

from __future__ import annotations

import copy
import mmap
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from tscl.data.recording import Channels
from tscl.data.store import StoreWriter, WindowStore
from tscl.data.store.remote import RemoteSignals
from tscl.errors import DataError
from tscl.files import atomic_folder
from tscl.types import Batch

if TYPE_CHECKING:
    from typing import Self

    from tscl.data.splits import Split

CHUNK = 64 * 2**20
"""Bytes that are written at a time."""


class WindowDataset(Dataset[Batch]):
    """Signals of equal length with the table that says what each of them is.

    Parameters
    ----------
    signals : ndarray, memmap or RemoteSignals, shape (n, C, T), float32
        The windows; NaN marks missing values and pads shorter windows. A memory map stays on disk, and the windows of
        a store behind a URL stay there: only those that are asked for are read.
    metadata : DataFrame, n rows
        One row a window: a column for every level id, label columns, ``onset`` (seconds from the start of the
        recording) and ``source`` (file).
    channels : Channels
        Names, types, unit, sampling rate (Hz) and positions of the C channels.
    levels : sequence of str
        The id columns of ``metadata``, from coarse to fine, such as ``("patient", "recording", "trial")``.
    target : str, optional
        The label column that ``y`` is taken from.
    classes : sequence, optional
        Values of the label column in the order of their class index; sorted unique values by default.
    rows : ndarray of int, optional
        Which of ``signals`` are the windows, in this order, so that a selection shares the signals; all by default.

    Raises
    ------
    DataError
        When the shapes disagree, or a level or the target is not a column of ``metadata``.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from tscl.data import Channels, WindowDataset
    >>> table = pd.DataFrame({"patient": ["a", "a", "b"], "trial": [0, 1, 0], "sick": [1, 1, 0]})
    >>> channels = Channels(("I", "II"), ("ecg", "ecg"), "mV", 250.0)
    >>> X = np.zeros((3, 2, 250), "float32")
    >>> data = WindowDataset(X, table, channels, levels=("patient", "trial"), target="sick")
    >>> data[[0, 2]].x.shape, data.codes("trial").tolist()
    (torch.Size([2, 2, 250]), [0, 1, 2])
    """

    skipped: Sequence[tuple[str, str]] = ()
    """(source, reason) of what :func:`tscl.data.prepare.prepare` left out."""

    def __init__(
        self,
        signals: np.ndarray | RemoteSignals,
        metadata: pd.DataFrame,
        channels: Channels,
        levels: Sequence[str] = ("patient", "trial"),
        target: str | None = None,
        classes: Sequence[Any] | None = None,
        *,
        rows: np.ndarray | None = None,
    ) -> None:
        if signals.ndim != 3:
            raise DataError(f"signals have shape {signals.shape}, expected (windows, channels, times).")
        rows = np.arange(len(signals)) if rows is None else np.asarray(rows)
        if len(metadata) != len(rows):
            raise DataError(f"{len(rows)} windows but {len(metadata)} rows of metadata: give one row a window.")
        if signals.shape[1] != len(channels):
            raise DataError(f"signals have {signals.shape[1]} channels but {len(channels)} channels are described.")
        for column in [*levels, *([target] if target else [])]:
            if column not in metadata.columns:
                raise DataError(f"metadata has no column {column!r}; it has {list(metadata.columns)}.")
        self.signals = signals
        self.rows = rows
        self.metadata = metadata.reset_index(drop=True)
        self.channels = channels
        self.levels = tuple(levels)
        self.target = target
        self._classes = None if classes is None else tuple(classes)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        n, c, t = self.shape
        levels = ", ".join(
            f"{self.codes(level).max(initial=-1) + 1} {level}{'' if level.endswith('s') else 's'}"
            for level in self.levels
        )
        return f"WindowDataset({n} windows, {c} channels, {t} times at {self.channels.sfreq:g} Hz; {levels})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n_windows, n_channels, n_times)."""
        return len(self.rows), self.signals.shape[1], self.signals.shape[2]

    @property
    def duration(self) -> float:
        """Length of a window in seconds."""
        return self.signals.shape[2] / self.channels.sfreq

    @property
    def subject_level(self) -> str:
        """``"patient"`` where there is that level, else the coarsest one."""
        return "patient" if "patient" in self.levels else self.levels[0]

    def numpy(self) -> np.ndarray:
        """Return the signals as one float32 array in memory, shape (n, C, T)."""
        return np.asarray(self.signals[self.rows], dtype=np.float32)

    def codes(self, level: str) -> np.ndarray:
        """Return dense int64 ids of a level, shape (n,); a trial is told apart by its patient as well."""
        return self._codes[level]

    @cached_property
    def _codes(self) -> dict[str, np.ndarray]:
        codes = {}
        for level in self.levels:
            keys = [self.metadata[level].astype(str)]
            if level == "trial" and "patient" in self.levels:
                keys.append(self.metadata["patient"].astype(str))
            numbers = pd.DataFrame(dict(enumerate(keys))).groupby(list(range(len(keys))), sort=False).ngroup()
            codes[level] = numbers.to_numpy(dtype=np.int64)
        return codes

    @property
    def classes(self) -> tuple[Any, ...]:
        """Values of the label column, in the order of their class index; empty without a target."""
        if self._classes is None and self.target is not None:
            values = self.metadata[self.target].dropna().unique().tolist()
            try:
                self._classes = tuple(sorted(values))
            except TypeError:
                self._classes = tuple(sorted(values, key=str))
        return self._classes or ()

    @cached_property
    def y(self) -> np.ndarray | None:
        """Class index of every window, shape (n,), int64; -1 where the label is missing. None without a target."""
        if self.target is None:
            return None
        return pd.Categorical(self.metadata[self.target], categories=list(self.classes)).codes.astype(np.int64)

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> Batch:
        index = np.atleast_1d(np.arange(len(self))[index])
        x = torch.from_numpy(np.asarray(self.signals[self.rows[index]], dtype=np.float32))
        return Batch(
            x=x,
            levels={level: torch.from_numpy(self.codes(level)[index]) for level in self.levels},
            y=None if self.y is None else torch.from_numpy(self.y[index]),
        )

    def select(self, which: np.ndarray | Sequence[int] | str) -> Self:
        """Return the chosen windows, of the same class, without copying signals.

        Parameters
        ----------
        which : array of int or bool, shape (k,) or (n,), or str
            Positions, a boolean mask, or a ``pandas`` query on the metadata such as ``"patient in ['a', 'b']"``.

        Returns
        -------
        WindowDataset
        """
        if isinstance(which, str):
            try:
                index = self.metadata.query(which).index.to_numpy()
            except Exception as error:
                raise DataError(
                    f"the query {which!r} does not fit the columns {list(self.metadata.columns)}: {error}"
                ) from error
        else:
            chosen = np.asarray(which)
            index = np.arange(len(self))[chosen if len(chosen) else chosen.astype(int)]
        selected = copy.copy(self)
        for cached in ("_codes", "y", "skipped"):
            selected.__dict__.pop(cached, None)
        selected.metadata = self.metadata.iloc[index].reset_index(drop=True)
        selected.rows = self.rows[index]
        selected._classes = self.classes or None
        return selected

    def with_target(self, target: str | None) -> WindowDataset:
        """Return the same windows with the labels taken from another column."""
        return WindowDataset(self.signals, self.metadata, self.channels, self.levels, target, rows=self.rows)

    def split(self, **kwargs: Any) -> Split:
        """Hold out whole patients (or any level); see :func:`tscl.data.holdout` for the arguments."""
        from tscl.data.splits import holdout

        return holdout(self, **kwargs)

    @classmethod
    def concat(cls, datasets: Sequence[WindowDataset]) -> WindowDataset:
        """Join data sets that have the same channels, sampling rate, unit and window length.

        Raises
        ------
        DataError
            Naming what differs.
        """
        if not datasets:
            raise DataError("nothing to concatenate: the list of data sets is empty.")
        first = datasets[0]
        for number, other in enumerate(datasets[1:], 1):
            said = first.channels.differences(other.channels)
            if other.signals.shape[2] != first.signals.shape[2]:
                said += (
                    f"{'; ' if said else ''}{other.signals.shape[2]} times a window instead of {first.signals.shape[2]}"
                )
            if other.levels != first.levels:
                said += f"{'; ' if said else ''}levels {other.levels} instead of {first.levels}"
            if said:
                raise DataError(
                    f"data set {number} cannot be joined to data set 0: {said}. Bring them to one montage first."
                )
        return cls(
            np.concatenate([d.numpy() for d in datasets]),
            pd.concat([d.metadata for d in datasets], ignore_index=True),
            first.channels,
            first.levels,
            first.target,
            first.classes if all(d.classes == first.classes for d in datasets) and first.classes else None,
        )

    def save(self, folder: str | Path) -> Path:
        """Write a store of the windows into ``folder`` (which must not exist), all or nothing.

        Raises
        ------
        DataError
            When there are no windows, or the disk is full.
        """
        if not len(self):
            raise DataError(f"there are no windows to save in {folder}: select some.")
        step = max(1, CHUNK // max(1, self.signals.shape[1] * self.signals.shape[2] * 4))
        with (
            atomic_folder(folder) as temporary,
            StoreWriter(temporary, self.levels, target=self.target, classes=self.classes) as writer,
        ):
            for start in range(0, len(self), step):
                rows = self.rows[start : start + step]
                table = self.metadata.iloc[start : start + step]
                name = f"windows {start} to {start + len(rows) - 1}"
                writer.append(self.signals[rows], table, self.channels, source=name)
        return Path(folder)

    @classmethod
    def open(cls, folder: str | Path) -> WindowDataset:
        """Open what :meth:`save` or :func:`tscl.data.prepare.prepare` wrote.

        Parameters
        ----------
        folder : str or Path
            A folder, whose signals stay on disk as a memory map, or an fsspec URL such as ``"s3://bucket/store"``,
            whose windows are fetched when they are asked for.

        Raises
        ------
        DataNotFoundError
            When there is no store.
        DataError
            When it is damaged, empty or of another format.
        """
        return cls.from_store(WindowStore(folder))

    @classmethod
    def from_store(cls, store: WindowStore) -> WindowDataset:
        """Return the windows of an open store.

        Parameters
        ----------
        store : WindowStore
        """
        info = store.info
        dataset = cls(store.signals, store.metadata, info.channels, info.levels, info.target, info.classes or None)
        dataset.skipped = store.left_out()
        return dataset

    def __copy__(self) -> Self:
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """Send a memory map to another process as the name of its file, not as its content."""
        state = self.__dict__.copy()
        signals = state["signals"]
        if isinstance(signals, np.memmap) and isinstance(signals.base, mmap.mmap) and signals.mode == "r":
            state["signals"] = (signals.filename, signals.shape)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["signals"], tuple):
            filename, shape = state["signals"]
            state = {**state, "signals": np.memmap(filename, "<f4", "r", shape=shape)}
        self.__dict__.update(state)
