"""PhysioNet's WFDB records: ``.hea`` with ``.dat`` or ``.mat``, and their annotation files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tscl.data.recording import Annotation, Channels, Recording
from tscl.errors import DataError, DataNotFoundError

MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "v": 1e3, "nv": 1e-6}
BYTES_PER_SAMPLE = {
    "8": 1,
    "16": 2,
    "24": 3,
    "32": 4,
    "61": 2,
    "80": 1,
    "160": 2,
    "212": 1.5,
    "310": 4 / 3,
    "311": 4 / 3,
}


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _check_sizes(header: Any, hea: Path) -> None:
    """Compare the size of each signal file with what the header promises."""
    for file_name in dict.fromkeys(header.file_name or []):
        path = hea.parent / file_name
        if not path.is_file():
            raise DataNotFoundError(f"{path} does not exist, but {hea.name} names it: fetch the signal file.")
        mine = [i for i, name in enumerate(header.file_name) if name == file_name]
        fmt = header.fmt[mine[0]]
        if fmt not in BYTES_PER_SAMPLE or header.sig_len is None:
            continue
        samples = header.sig_len * sum(header.samps_per_frame[i] or 1 for i in mine)
        expected = int(samples * BYTES_PER_SAMPLE[fmt]) + (header.byte_offset[mine[0]] or 0)
        size = path.stat().st_size
        if size < expected or size > expected + 512:
            raise DataError(
                f"{path} has {size} bytes but {hea.name} promises {expected} ({header.sig_len} samples of "
                f"{len(mine)} signals): fetch both files again, or read what is there with strict=False."
            )


def _check_sums(record: Any, hea: Path) -> None:
    """Compare the 16-bit sums of the samples with those in the header, where it has them."""
    for i, signal in enumerate(record.e_d_signal):
        expected = record.checksum[i] if record.checksum else None
        if expected is None or record.skew[i]:
            continue
        if int(np.sum(signal, dtype=np.int64)) % 65536 != int(expected) % 65536:
            raise DataError(
                f"{hea}: the samples of signal {record.sig_name[i]!r} do not have the header's checksum: fetch the "
                "record again, or read it as it is with strict=False."
            )


def _one_rate(signals: Sequence[np.ndarray]) -> np.ndarray:
    """Bring signals of unequal sampling rate to the highest one by linear interpolation, shape (C, T)."""
    n_times = max(len(signal) for signal in signals)
    grid = np.arange(n_times)
    rows = []
    for signal in signals:
        positions = np.arange(len(signal)) * (n_times / len(signal))
        rows.append(signal if len(signal) == n_times else np.interp(grid, positions, signal))
    return np.array(rows)


def _annotations(stem: Path, extensions: Sequence[str], sfreq: float) -> list[Annotation]:
    import wfdb

    found = []
    for extension in extensions:
        path = stem.with_name(f"{stem.name}.{extension}")
        if not path.is_file():
            raise DataNotFoundError(
                f"{path} does not exist: fetch the annotation file, or read without annotation={extension!r}."
            )
        try:
            marks = wfdb.rdann(str(stem), extension)
        except Exception as error:
            raise DataError(f"{path} cannot be read ({_reason(error)}): fetch the annotation file again.") from error
        prefix = f"{extension}:" if len(extensions) > 1 else ""
        for sample, symbol, note in zip(marks.sample, marks.symbol, marks.aux_note, strict=True):
            note = note.strip("\x00 ")
            said = f"{prefix}{symbol} {note}" if note else f"{prefix}{symbol}"
            found.append(Annotation(float(sample) / sfreq, 0.0, said))
    return sorted(found, key=lambda annotation: annotation.onset)


def read_wfdb(
    path: str | Path,
    *,
    annotation: str | Sequence[str] | None = None,
    channels: Sequence[str] | None = None,
    ch_type: str = "ecg",
    strict: bool = True,
) -> Recording:
    """Read a WFDB record.

    Parameters
    ----------
    path : str or Path
        The ``.hea``, ``.dat`` or ``.mat`` file, or the record's path without suffix.
    annotation : str or sequence of str, optional
        Extension of the annotation file, such as ``"atr"``; with several, each description starts with its extension.
    channels : sequence of str, optional
        Names of the signals to read, in the order of the file; all by default.
    ch_type : str
        MNE channel type of the signals in volts; those in other units are ``"misc"``.
    strict : bool
        Refuse a record whose size or checksums disagree with its header; otherwise read what is there.

    Returns
    -------
    Recording
        Voltages in mV, other signals in the unit of the header; ``channels.unit`` is ``"mV"`` when there is any
        voltage. Samples that the format marks as missing are NaN. Signals of unequal rate are interpolated linearly to
        the highest rate. ``labels["comments"]`` has the comment lines of the header; an annotation's description is its
        symbol, followed by its note where it has one (``"+ (AFIB"``).

    Raises
    ------
    DataNotFoundError
        When the header, the signal file or the annotation file is missing.
    DataError
        When the record is truncated or corrupt, or disagrees with its header.

    Examples
    --------
    >>> recording = read_wfdb("mitdb/100.hea", annotation="atr")  # doctest: +SKIP
    """
    import wfdb

    path = Path(path)
    stem = path.with_suffix("") if path.suffix.lower() in (".hea", ".dat", ".mat") else path
    hea = stem.with_name(stem.name + ".hea")
    if not hea.is_file():
        raise DataNotFoundError(f"{hea} does not exist: a WFDB record needs its header beside the signal file.")
    try:
        header = wfdb.rdheader(str(stem))
    except Exception as error:
        raise DataError(f"{hea} cannot be read ({_reason(error)}): fetch the header again.") from error
    if not header.n_sig:
        raise DataError(f"{hea} describes no signals: leave this record out.")
    names = list(header.sig_name or [])
    multi_segment = hasattr(header, "segments")
    if strict and not multi_segment:
        _check_sizes(header, hea)
    try:
        if multi_segment:
            record = wfdb.rdrecord(str(stem), m2s=True)
            signals, names, units = list(record.p_signal.T), list(record.sig_name), list(record.units)
        elif "61" in header.fmt:  # wfdb cannot give the integers of this big-endian format
            record = wfdb.rdrecord(str(stem), smooth_frames=False)
            signals, units = record.e_p_signal, list(record.units)
        else:
            record = wfdb.rdrecord(str(stem), physical=False, smooth_frames=False)
            if strict:
                _check_sums(record, hea)
            signals, units = record.dac(expanded=True), list(record.units)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{stem}: the signals cannot be read ({_reason(error)}): fetch the record again.") from error
    if channels is not None:
        missing = [name for name in channels if name not in names]
        if missing:
            raise DataError(f"{hea} has no signals {missing}: it has {names}.")
        keep = [i for i, name in enumerate(names) if name in channels]
        signals, names, units = ([values[i] for i in keep] for values in (signals, names, units))
    data = _one_rate(signals)
    factors = [MILLIVOLTS.get((unit or "mV").lower()) for unit in units]
    data = data * np.array([1.0 if factor is None else factor for factor in factors])[:, None]
    voltage = any(factor is not None for factor in factors)
    frames = (header.sig_len or data.shape[1]) or 1
    described = Channels(
        tuple(names),
        tuple("misc" if factor is None else ch_type for factor in factors),
        "mV" if voltage else str(units[0]),
        float(header.fs) * max(1, round(data.shape[1] / frames)),
    )
    wanted = [annotation] if isinstance(annotation, str) else list(annotation or [])
    marks = _annotations(stem, wanted, float(header.fs))
    labels = {"comments": list(header.comments or [])}
    return Recording(data, described, labels=labels, annotations=marks, source=str(hea))
