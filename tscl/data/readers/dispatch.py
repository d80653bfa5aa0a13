"""One function for every file: the suffix says which reader opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tscl.data.readers.arrays import read_comet_layout, read_npz
from tscl.data.readers.mne_reader import read_mne
from tscl.data.readers.wfdb_reader import read_wfdb
from tscl.data.recording import Recording
from tscl.errors import DataError, DataNotFoundError


def read(path: str | Path, **options: Any) -> Recording | list[Recording]:
    """Read a recording with the reader that fits its suffix.

    Parameters
    ----------
    path : str or Path
        ``.hea``, or ``.dat`` / ``.mat`` with a header beside it, or a WFDB record name: :func:`read_wfdb`; ``.npz`` and
        ``.npy``: :func:`read_npz`; a folder with ``Feature`` and ``Label``: :func:`read_comet_layout`; everything else:
        :func:`read_mne`.
    **options
        Given to that reader.

    Returns
    -------
    Recording or list of Recording

    Raises
    ------
    DataNotFoundError
        When nothing is at ``path``.
    DataError
        When the file cannot be used.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    has_header = path.with_suffix(".hea").is_file()
    if suffix == ".hea" or (suffix == ".dat" and has_header) or (suffix == ".mat" and has_header):
        return read_wfdb(path, **options)
    if not path.exists():
        if path.with_name(path.name + ".hea").is_file():
            return read_wfdb(path, **options)
        raise DataNotFoundError(f"{path} does not exist: check the path.")
    if suffix in (".npz", ".npy"):
        return read_npz(path, **options)
    if suffix == ".dat":
        raise DataError(f"{path}: its WFDB header {path.stem}.hea is missing: put it beside the signal file.")
    if suffix == ".mat":
        raise DataError(
            f"{path}: a .mat without a WFDB header has no fixed layout: give the source a reader of its own."
        )
    if path.is_dir() and (path / "Feature").is_dir():
        return read_comet_layout(path, **options)
    return read_mne(path, **options)
