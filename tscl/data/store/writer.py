"""Write a store of windows: appended in order, committed in steps, by one writer at a time."""

from __future__ import annotations

import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tscl.data.recording import Channels
from tscl.data.store.disk import lock, sync, synced_folder
from tscl.data.store.layout import (
    INFO,
    SOURCE_SCHEMA,
    SOURCES,
    WINDOWS,
    StoreInfo,
    join,
    merge_parquet,
    row_groups,
    table_of,
    write_parquet,
    write_rows,
)
from tscl.errors import DataError, TsclError
from tscl.files import atomic_file

if TYPE_CHECKING:
    from typing import Self

COMMIT_BYTES = 256 * 2**20
COMMIT_SECONDS = 60.0
COMMIT_SOURCES = 256
"""A commit comes behind so many bytes, so much time, or so many sources: more is not lost when the writer is killed."""
MERGED = 16
"""Parts that the index may have when it is finished; more are merged into one."""
CHUNK = 64 * 2**20
"""Bytes that are copied at a time."""


class StoreWriter:
    """Append windows to a store; a context manager, within which no other process writes to it.

    Bytes are written and brought to the disk first, then the part of the index that speaks of them appears under its
    name. A writer that was killed leaves bytes without index at the end, which the next writer cuts off.

    Parameters
    ----------
    folder : str or Path
        A store, which is gone on with, or a new folder.
    levels : sequence of str
        Id columns from coarse to fine.
    recipe : str, optional
        Key of the way from recordings to windows.
    target : str, optional
        Label column.
    classes : sequence, optional
        Values of the label column in the order of their class index.

    Attributes
    ----------
    info : StoreInfo or None
        None as long as nothing was appended.
    broken : bool
        Whether writing failed, for want of space for example.

    Raises
    ------
    DataError
        When the folder cannot be written, or holds a store of other levels or another recipe, or a damaged one.

    Examples
    --------
    >>> with StoreWriter("store", levels=("patient", "trial")) as writer:  # doctest: +SKIP
    ...     writer.append(X, table, channels, source="P01.edf")
    """

    def __init__(
        self,
        folder: str | Path,
        levels: Sequence[str],
        *,
        recipe: str = "",
        target: str | None = None,
        classes: Sequence[Any] = (),
    ) -> None:
        self.folder = Path(folder)
        self.levels, self.recipe, self.target, self.classes = tuple(levels), recipe, target, tuple(classes)
        self.info: StoreInfo | None = None
        self.broken = False
        self._pending: list[tuple[dict[str, Any], pa.Table | None]] = []
        self._n = 0
        self._uncommitted, self._committed_at = 0, time.monotonic()
        self._open = ExitStack()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            with self._writing():
                stack.enter_context(lock(self.folder))
                if (self.folder / INFO).exists():
                    self._resume()
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if not self.broken:
                self.commit()
        finally:
            if self._file is not None:
                self._file.close()
            self._open.close()

    @property
    def n_windows(self) -> int:
        """Number of windows, those included that are not committed yet."""
        return self._n

    @property
    def sources(self) -> Iterator[dict[str, Any]]:
        """The committed rows of the sources, read from the disk one by one; ``skipped`` and ``trials`` are JSON."""
        return (row for table in self._source_tables() for row in table.to_pylist())

    def keys(self, failed: bool = False) -> set[str]:
        """Return the keys of the sources that are there, or that the recipe leaves out; with ``failed`` of all."""
        return {
            row["key"]
            for row in self.sources
            if failed or row["n_windows"] or not any(error for _, _, error in json.loads(row["skipped"]))
        }

    def append(
        self,
        signals: np.ndarray | None,
        metadata: pd.DataFrame | None,
        channels: Channels | None,
        *,
        key: str = "",
        source: str = "",
        trials: Mapping[str, int] | None = None,
        skipped: Sequence[tuple[str, str, bool]] = (),
    ) -> None:
        """Append the windows of one source.

        Parameters
        ----------
        signals : ndarray, shape (n, C, T), or None
            Its windows. Shorter ones than the store's are padded with NaN; longer ones lengthen all that are there,
            for which the file is written anew. None where the source gives no windows.
        metadata : DataFrame, n rows, or None
            A row a window.
        channels : Channels or None
            Must be the store's.
        key, source : str
            What the source is recognised by, and its name.
        trials : mapping of str to int, optional
            How many trials were numbered, by the id of their parent.
        skipped : sequence of (str, str, bool)
            What was left out of the source: name, reason, and whether it failed (or the recipe leaves it out).

        Raises
        ------
        DataError
            When the channels are not those of the store, or the disk is full.
        """
        row: dict[str, Any] = {"key": key, "source": source, "n_windows": 0, "crc32": 0}
        row |= {"trials": json.dumps(trials or {}), "skipped": json.dumps([list(one) for one in skipped])}
        table = None
        if signals is not None and metadata is not None and channels is not None and len(signals):
            row["n_windows"], table = len(signals), table_of(metadata)
            with self._writing():
                row["crc32"] = self._append_bytes(signals, channels)
        self._pending.append((row, table))
        self._n += row["n_windows"]
        enough = self._uncommitted >= COMMIT_BYTES or len(self._pending) >= COMMIT_SOURCES
        if enough or time.monotonic() - self._committed_at >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Make what was appended part of the store."""
        if not self._pending or self.info is None:
            return
        with self._writing():
            if self._file is not None:
                self._file.flush()
                os.fsync(self._file.fileno())
            rows = [row for row, _ in self._pending]
            tables = [table for _, table in self._pending if table is not None]
            number = max((int(part.name) for part in self._parts()), default=-1) + 1
            with synced_folder(self.folder / self.info.index / f"{number:06d}") as part:
                write_parquet(pa.Table.from_pylist(rows, SOURCE_SCHEMA), part / SOURCES)
                if tables:
                    write_parquet(join(tables), part / WINDOWS)
        self._pending = []
        self._uncommitted, self._committed_at = 0, time.monotonic()
        del rows, tables
        pa.default_memory_pool().release_unused()

    def merge(self) -> None:
        """Commit, and make one part of the index's parts where there are many."""
        self.commit()
        if len(self._parts()) > MERGED:
            self._replace_index(self._described.next(signals=False))

    def discard(self) -> None:
        """Delete the store."""
        self._pending = []
        shutil.rmtree(self.folder, ignore_errors=True)

    def rewrite(
        self,
        change: Callable[[np.ndarray], None] | None = None,
        *,
        n_times: int | None = None,
        unit: str | None = None,
    ) -> None:
        """Write all signals anew, beside the old ones, and put them in their place when that is done.

        Parameters
        ----------
        change : callable, optional
            Is given the new windows as a memory map that can be written, shape (n, C, T), and changes them. The store
            then counts as scaled.
        n_times : int, optional
            New number of time steps a window, not below the old one; what is added is NaN.
        unit : str, optional
            New unit of the channels.
        """
        self.commit()
        old = self._described
        channels = old.channels if unit is None else Channels.from_dict({**old.channels.to_dict(), "unit": unit})
        new = old.next(
            signals=True, n_times=n_times or old.n_times, channels=channels, scaled=old.scaled or change is not None
        )
        with self._writing():
            self._copy(old, new)
            signals = self._map(new, "r+")
            if change is not None:
                change(signals)
            if isinstance(signals, np.memmap):
                signals.flush()
            self._replace_index(new, self._checksums(signals))

    @property
    def _described(self) -> StoreInfo:
        if self.info is None:
            raise DataError(f"{self.folder} holds no window yet: append some first.")
        return self.info

    def _append_bytes(self, signals: np.ndarray, channels: Channels) -> int:
        """Write windows to the end of the signals file, and return the CRC-32 of what was written."""
        if self.info is None:
            self.info = StoreInfo(channels, self.levels, signals.shape[2], self.target, self.classes, self.recipe)
            self._describe(self.info)
        if self.info.scaled:
            raise DataError(
                f"{self.folder}: its windows were scaled by id when it was finished, so nothing can be appended: "
                "prepare all recordings into a new store."
            )
        said = self.info.channels.differences(channels)
        if said:
            raise DataError(f"these windows do not fit the store {self.folder}: {said}.")
        if signals.shape[2] > self.info.n_times:
            self.rewrite(n_times=signals.shape[2])
        if self._file is None:
            path = self.folder / self.info.signals
            self._file = path.open("r+b" if path.exists() else "w+b")
        self._file.seek(self._n * self.info.window_bytes)
        data = np.ascontiguousarray(_padded(signals, self.info.n_times), "<f4")
        self._file.write(data.data)
        self._uncommitted += data.nbytes
        return zlib.crc32(data.data)

    def _resume(self) -> None:
        """Read what is there, cut off what was not committed, and take away what no longer belongs to the store."""
        info = StoreInfo.from_json((self.folder / INFO).read_text(), str(self.folder))
        if (info.levels, info.recipe) != (self.levels, self.recipe):
            raise DataError(
                f"{self.folder} was prepared in another way (other levels {list(info.levels)}, preprocessing or "
                "version): use the configuration that it was made with, or write to a new folder."
            )
        self.info = info
        for path in self.folder.iterdir():
            if path.name.startswith(("signals.", "index.")) and path.name not in (info.signals, info.index):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        try:
            self._n = sum(row["n_windows"] for row in self.sources)
        except (OSError, ValueError) as error:
            raise DataError(f"{self.folder} is damaged ({error}): delete it and prepare it again.") from None
        expected, signals = self._n * info.window_bytes, self.folder / info.signals
        there = signals.stat().st_size if signals.exists() else 0
        if there < expected:
            raise DataError(
                f"{self.folder} is damaged: {info.signals} has {there} bytes, its windows need {expected}: delete it "
                "and prepare it again."
            )
        if there > expected:
            os.truncate(signals, expected)

    def _parts(self) -> list[Path]:
        """Return the folders of the commits, in order."""
        index = None if self.info is None else self.folder / self.info.index
        return sorted(p for p in index.iterdir() if p.name.isdigit()) if index is not None and index.is_dir() else []

    def _map(self, info: StoreInfo, mode: Any) -> np.ndarray:
        shape = (self._n, len(info.channels), info.n_times)
        return np.memmap(self.folder / info.signals, "<f4", mode, shape=shape) if shape[0] else np.empty(shape, "<f4")

    def _copy(self, old: StoreInfo, new: StoreInfo) -> None:
        signals, step = self._map(old, "r"), max(1, CHUNK // new.window_bytes)
        with (self.folder / new.signals).open("wb") as file:
            for start in range(0, len(signals), step):
                file.write(np.ascontiguousarray(_padded(signals[start : start + step], new.n_times), "<f4").data)
            file.flush()
            os.fsync(file.fileno())

    def _source_tables(self, checksums: Iterator[int] | None = None) -> Iterator[pa.Table]:
        """Read the rows of the sources, some at a time, with other checksums where they are given."""
        for table in row_groups(part / SOURCES for part in self._parts()):
            table = table.cast(SOURCE_SCHEMA)
            if checksums is not None:
                crc, at = SOURCE_SCHEMA.field("crc32"), SOURCE_SCHEMA.get_field_index("crc32")
                table = table.set_column(at, crc, pa.array(islice(checksums, len(table)), crc.type))
            yield table

    def _checksums(self, signals: np.ndarray) -> Iterator[int]:
        """Yield the CRC-32 of every source in these windows."""
        at = 0
        step = max(1, CHUNK // max(1, signals.shape[1] * signals.shape[2] * 4))
        for row in self.sources:
            crc, stop = 0, at + row["n_windows"]
            for start in range(at, stop, step):
                crc = zlib.crc32(signals[start : min(start + step, stop)].data, crc)
            yield crc
            at = stop

    def _replace_index(self, new: StoreInfo, checksums: Iterator[int] | None = None) -> None:
        """Write the index of the next generation in one part, make it the store's, and delete what it replaces."""
        old = self._described
        with self._writing():
            if parts := self._parts():
                windows = [part / WINDOWS for part in parts if (part / WINDOWS).exists()]
                with synced_folder(self.folder / new.index / "000000") as part:
                    write_rows(self._source_tables(checksums), SOURCE_SCHEMA, part / SOURCES)
                    if windows:
                        merge_parquet(windows, part / WINDOWS)
            self._describe(new)
            self.info = new
            if self._file is not None:
                self._file.close()
                self._file = None
            shutil.rmtree(self.folder / old.index, ignore_errors=True)
            if new.signals != old.signals:
                (self.folder / old.signals).unlink(missing_ok=True)

    def _describe(self, info: StoreInfo) -> None:
        with atomic_file(self.folder / INFO) as temporary:
            temporary.write_text(info.to_json())
            sync(temporary)
        sync(self.folder)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except TsclError as error:
            self.broken = self.broken or isinstance(error.__cause__, OSError)
            raise
        except OSError as error:
            self.broken = True
            reason = error.strerror or error
            raise DataError(
                f"{self.folder} could not be written ({reason}): free space or choose another place."
            ) from error


def _padded(signals: np.ndarray, n_times: int) -> np.ndarray:
    if signals.shape[2] == n_times:
        return signals
    return np.pad(signals, ((0, 0), (0, 0), (0, n_times - signals.shape[2])), constant_values=np.nan)
