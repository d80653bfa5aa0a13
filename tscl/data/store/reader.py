"""Open a store of windows, here or behind a URL, and check its bytes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tscl.data.store.layout import INFO, SOURCE_SCHEMA, SOURCES, WINDOWS, StoreInfo, join, read_parquet
from tscl.data.store.remote import RemoteSignals
from tscl.errors import DataError, DataNotFoundError

ATTEMPTS = 20
"""A writer that merges the index takes away what a reader is about to open; so often it looks again."""
CHUNK = 64 * 2**20
"""Bytes that are checked at a time."""


class WindowStore:
    """What a store holds at the moment when it is opened; a writer may go on appending behind it.

    Parameters
    ----------
    folder : str or Path
        Folder, or any fsspec URL such as ``"s3://bucket/store"``, whose windows are fetched when they are asked for.

    Attributes
    ----------
    info : StoreInfo
        Channels, levels, target, ...
    signals : memmap or RemoteSignals, shape (n, C, T), float32
        The windows.
    metadata : DataFrame, n rows
        A row a window.
    sources : DataFrame
        A row a source: ``key``, ``source``, ``n_windows``, ``crc32``, and ``skipped``, what was left out of it.

    Raises
    ------
    DataNotFoundError
        When there is no store.
    DataError
        When it is damaged, empty or of another format.

    Examples
    --------
    >>> store = WindowStore("prepared/eegmat")  # doctest: +SKIP
    >>> store.verify()  # doctest: +SKIP
    """

    info: StoreInfo
    signals: np.ndarray | RemoteSignals
    metadata: pd.DataFrame
    sources: pd.DataFrame

    def __init__(self, folder: str | Path) -> None:
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem

        self.folder = str(folder)
        self._fs, self._root = url_to_fs(self.folder)
        self._local = isinstance(self._fs, LocalFileSystem)
        for attempt in range(ATTEMPTS):
            try:
                self._open()
                return
            except FileNotFoundError as error:
                if isinstance(error, DataNotFoundError):
                    raise
                if attempt == ATTEMPTS - 1:
                    raise DataError(f"{folder} is damaged ({error}): delete it and prepare it again.") from error
            except (ValueError, OSError) as error:
                if isinstance(error, DataError):
                    raise
                raise DataError(f"{folder} is damaged ({error}): delete it and prepare it again.") from error

    def __len__(self) -> int:
        return len(self.signals)

    def left_out(self, keys: Collection[str] | None = None, failed: bool = False) -> list[tuple[str, str]]:
        """Return (source, reason) of what was left out, also by the recipe itself.

        Parameters
        ----------
        keys : collection of str, optional
            Of these sources alone.
        failed : bool
            Only what could not be used, without what the recipe itself leaves out.
        """
        latest = self.sources.drop_duplicates("key", keep="last")
        if keys is not None:
            latest = latest[latest["key"].isin(set(keys))]
        said = [one for text in latest["skipped"] if text != "[]" for one in json.loads(text)]
        return [(source, reason) for source, reason, was_error in said if was_error or not failed]

    def verify(self) -> None:
        """Read all windows and compare their checksums.

        Raises
        ------
        DataError
            Naming the sources whose windows are damaged.
        """
        at, bad = 0, []
        step = max(1, CHUNK // self.info.window_bytes)
        for source, count, expected in self.sources[["source", "n_windows", "crc32"]].itertuples(index=False):
            found = 0
            for start in range(at, at + count, step):
                found = zlib.crc32(self.signals[start : min(start + step, at + count)].data, found)
            at += count
            if found != expected:
                bad.append(source)
        if bad:
            raise DataError(
                f"{self.folder}: the windows of {', '.join(bad[:5])}{', ...' if len(bad) > 5 else ''} are damaged "
                f"({len(bad)} of {len(self.sources)} sources): delete the store and prepare it again."
            )

    def _read(self, *names: str) -> Any:
        return self._fs.open("/".join((self._root, *names)), "rb")

    def _open(self) -> None:
        self._fs.invalidate_cache(self._root)
        text = self._described()
        self.info = StoreInfo.from_json(text, self.folder)
        index = f"{self._root}/{self.info.index}"
        names = [path.rsplit("/", 1)[1] for path in self._fs.ls(index, detail=False)] if self._fs.exists(index) else []
        tables = [self._part(name) for name in sorted(names) if name.isdigit()]
        n = sum(sum(sources["n_windows"].to_pylist()) for sources, _ in tables)
        self.signals = self._signals(n)
        if self._described() != text:
            raise FileNotFoundError(index)
        windows = [table for _, table in tables if table is not None]
        if not windows:
            raise DataError(f"{self.folder} holds no window yet: wait for its writer, or prepare it again.")
        self.sources = pa.concat_tables([sources for sources, _ in tables]).to_pandas()
        tables.clear()
        self.metadata = join(windows).to_pandas(split_blocks=True)
        windows.clear()
        pa.default_memory_pool().release_unused()
        if len(self.metadata) != n:
            raise DataError(f"{self.folder} is damaged ({n} windows but {len(self.metadata)} rows): prepare it again.")

    def _described(self) -> str:
        """Return the text of ``store.json``."""
        try:
            with self._read(INFO) as file:
                return file.read().decode()
        except FileNotFoundError as error:
            if self._fs.exists(f"{self._root}/dataset.json"):
                raise DataError(f"{self.folder} has format 1, this version reads 2: prepare it again.") from error
            raise DataNotFoundError(f"{self.folder} is not a saved window data set: {INFO} is missing.") from error

    def _part(self, part: str) -> tuple[pa.Table, pa.Table | None]:
        with self._read(self.info.index, part, SOURCES) as file:
            sources = read_parquet(file).cast(SOURCE_SCHEMA)
        if not sum(sources["n_windows"].to_pylist()):
            return sources, None
        with self._read(self.info.index, part, WINDOWS) as file:
            return sources, read_parquet(file)

    def _signals(self, n: int) -> np.ndarray | RemoteSignals:
        shape = (n, len(self.info.channels), self.info.n_times)
        path = f"{self._root}/{self.info.signals}"
        there = self._fs.size(path) if n else 0
        if there < n * self.info.window_bytes:
            raise DataError(
                f"{self.folder} is damaged: {self.info.signals} has {there} bytes, its {n} windows need "
                f"{n * self.info.window_bytes}: delete it and prepare it again."
            )
        if not self._local:
            return RemoteSignals(self._fs.unstrip_protocol(path), shape)
        return np.memmap(path, "<f4", "r", shape=shape) if n else np.empty(shape, "<f4")
