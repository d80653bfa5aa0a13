"""Windows of a store that is not on this machine, fetched when they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from tscl.errors import DataError

SMALL = 64 * 2**20
"""Bytes up to which rows that follow one another are fetched in one request."""


class RemoteSignals:
    """The signals file of a store behind an fsspec URL, indexed by windows like an array.

    Rows that follow one another are one range of bytes; all ranges are asked for at the same time. It holds the URL
    alone, so that worker processes can have copies of it.

    Parameters
    ----------
    url : str
        The file of little-endian float32.
    shape : tuple of int
        (n, C, T).

    Attributes
    ----------
    dtype : numpy.dtype
        float32.
    ndim : int
        3.
    """

    dtype = np.dtype("<f4")
    ndim = 3

    def __init__(self, url: str, shape: tuple[int, int, int]) -> None:
        self.url = url
        self.shape = shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Fetch windows by an integer, a slice, or an array of integers or booleans; shape (k, C, T) or (C, T)."""
        wanted = np.arange(len(self))[rows]
        distinct, place = np.unique(np.atleast_1d(wanted), return_inverse=True)
        windows = self._fetch(distinct)[place]
        return windows[0] if np.ndim(wanted) == 0 else windows

    def _fetch(self, rows: np.ndarray) -> np.ndarray:
        """Fetch windows whose numbers rise."""
        from fsspec.core import url_to_fs

        size = self.shape[1] * self.shape[2] * self.dtype.itemsize
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        if not len(rows):
            return out
        follows = np.append(False, np.diff(rows) == 1)
        full = np.arange(len(rows)) % max(1, SMALL // size) == 0
        first = np.flatnonzero(~follows | full)
        last = np.append(first[1:], len(rows)) - 1
        fs, path = url_to_fs(self.url)
        starts, ends = rows[first] * size, (rows[last] + 1) * size
        ranges = fs.cat_ranges([path] * len(first), starts.tolist(), ends.tolist(), on_error="raise")
        for begin, end, start, stop, data in zip(first, last + 1, starts, ends, ranges, strict=True):
            if len(data) != stop - start:
                raise DataError(f"{self.url} ends before byte {stop}: the store is damaged or was copied in part.")
            out[begin:end] = np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])
        return out
