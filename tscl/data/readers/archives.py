"""Files of the UCR and UEA archives: many labelled series in one ``.ts``, ``.tsv``, ``.arff`` or ``.npz``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from tscl.data.readers.arrays import finite_float, load_arrays
from tscl.errors import DataError, DataNotFoundError

Labelled = tuple[list[np.ndarray], list[str]]


def read_labelled_series(path: str | Path, part: Literal["train", "test"] | None = None) -> Labelled:
    r"""Read the series of a classification set with their classes.

    Parameters
    ----------
    path : str or Path
        ``.ts`` and ``.arff`` are read by sktime; ``.tsv`` has a series a line, its class first, padded with NaN at the
        end where lengths differ; ``.npz`` holds ``X`` (n, C, T) or (n, T) and ``y`` (n,), or these for each part:
        ``X_train``, ``y_train``, ``X_test``, ``y_test``.
    part : {"train", "test"}, optional
        Which part of an ``.npz`` that holds both.

    Returns
    -------
    series : list of ndarray, each of shape (C, T_i), float32
        NaN marks missing values.
    labels : list of str
        Classes as text; whole numbers without a decimal point, so that every format of a set names them alike.

    Raises
    ------
    DataNotFoundError
        When there is no such file.
    DataError
        When it is of another format, damaged, empty, without classes, holds infinite values, or its series differ in
        their number of channels.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "Two_TRAIN.tsv"
    >>> _ = path.write_text("1\t0.5\t0.25\n2\t1.5\tNaN\n")
    >>> read_labelled_series(path)
    ([array([[0.5 , 0.25]], dtype=float32), array([[1.5]], dtype=float32)], ['1', '2'])
    """
    path = Path(path)
    if not path.is_file():
        raise DataNotFoundError(f"{path} does not exist: check the path.")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        series, labels = _read_npz(path, part)
    elif suffix in READERS:
        try:
            series, labels = READERS[suffix](path)
        except DataError:
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:200]
            raise DataError(
                f"{path} cannot be read as {suffix} ({type(error).__name__}: {said}): fetch it again."
            ) from error
    else:
        raise DataError(f"{path}: {suffix or 'no suffix'} is not read here: use .ts, .tsv, .arff or .npz.")
    if not series:
        raise DataError(f"{path} holds no series: fetch it again.")
    channels = {len(one) for one in series}
    if len(channels) > 1:
        raise DataError(f"{path}: its series have {sorted(channels)} channels, expected the same number in all.")
    return [finite_float(one, str(path)) for one in series], [as_label(label) for label in labels]


def as_label(value: Any) -> str:
    """Write a class as text: ``1``, ``1.0`` and ``"1.0000000e+00"`` are all ``"1"``, anything else stays as it is."""
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


def _read_npz(path: Path, part: str | None) -> tuple[list[np.ndarray], Sequence[Any]]:
    arrays = load_arrays(path)
    x_key, y_key = ("X", "y") if part is None else (f"X_{part}", f"y_{part}")
    missing = [key for key in (x_key, y_key) if key not in arrays]
    if missing:
        raise DataError(f"{path} has no array {missing[0]!r}, it has {sorted(arrays)}: save X and y of every part.")
    X, y = arrays[x_key], arrays[y_key]
    if X.ndim not in (2, 3) or y.shape != (len(X),):
        raise DataError(
            f"{path}: {x_key} has shape {X.shape} and {y_key} {y.shape}, expected (n, channels, times) or (n, times) "
            "and (n,)."
        )
    return list(X if X.ndim == 3 else X[:, None]), y.tolist()


def _read_ts(path: Path) -> tuple[list[np.ndarray], Sequence[Any]]:
    from sktime.datasets import load_from_tsfile_to_dataframe

    read = load_from_tsfile_to_dataframe(str(path))
    if not isinstance(read, tuple):
        raise DataError(f"{path} has no class labels (@classLabel false): use a classification set.")
    return _nested(*read)


def _read_arff(path: Path) -> tuple[list[np.ndarray], Sequence[Any]]:
    from sktime.datasets import load_from_arff_to_dataframe

    return _nested(*load_from_arff_to_dataframe(str(path)))


def _read_tsv(path: Path) -> tuple[list[np.ndarray], Sequence[Any]]:
    table = pd.read_csv(path, sep="\t", header=None, dtype={0: str})
    values = table.drop(columns=0).to_numpy(dtype=np.float32)
    lengths = values.shape[1] - np.isnan(values[:, ::-1]).argmin(axis=1)
    return [row[None, :length] for row, length in zip(values, lengths, strict=True)], table[0].tolist()


def _nested(frame: pd.DataFrame, labels: np.ndarray) -> tuple[list[np.ndarray], Sequence[Any]]:
    """Series of a frame whose cells are series; shorter channels of one series are padded with NaN."""
    columns = [[np.asarray(cell, dtype=np.float32) for cell in frame[name]] for name in frame.columns]
    series = []
    for channels in zip(*columns, strict=True):
        one = np.full((len(channels), max(map(len, channels))), np.nan, dtype=np.float32)
        for row, values in zip(one, channels, strict=True):
            row[: len(values)] = values
        series.append(one)
    return series, labels.tolist()


READERS: dict[str, Callable[[Path], tuple[list[np.ndarray], Sequence[Any]]]] = {
    ".ts": _read_ts,
    ".tsv": _read_tsv,
    ".arff": _read_arff,
}
