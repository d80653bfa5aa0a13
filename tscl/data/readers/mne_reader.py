"""Everything that ``mne.io.read_raw`` opens: EDF, BDF, GDF, FIF, BrainVision, CTF, KIT, EGI, ..."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tscl.data.readers.mne_info import channels_of
from tscl.data.recording import Annotation, Recording, unit_of
from tscl.errors import DataError, DataNotFoundError

logger = logging.getLogger("tscl")

NOT_SIGNALS = ("stim", "syst", "exci", "ias", "chpi")
SUSPICIOUS = ("does not match the file size", "truncated", "corrupt", "will use data shape")


def _check_edf_size(path: Path) -> None:
    """Compare the size of an EDF or BDF file with what its header promises; -1 records means 'not known'."""
    sample_bytes = 3 if path.suffix.lower() == ".bdf" else 2
    with path.open("rb") as file:
        head = file.read(256)
        try:
            header_bytes, n_records, n_signals = int(head[184:192]), int(head[236:244]), int(head[252:256])
            file.seek(256 + 216 * n_signals)
            record_samples = sum(int(file.read(8)) for _ in range(n_signals))
        except ValueError as error:
            raise DataError(f"{path}: the EDF header is damaged ({error}): fetch the file again.") from error
    expected = header_bytes + n_records * record_samples * sample_bytes
    if n_records >= 0 and path.stat().st_size != expected:
        raise DataError(
            f"{path} has {path.stat().st_size} bytes but its header promises {expected} ({n_records} records): fetch "
            "the file again, or read what is there with strict=False."
        )


def _check_brainvision_size(path: Path) -> None:
    """Compare the size of a BrainVision signal file with the numbers in its header."""
    text = path.read_text(encoding="latin-1")
    found = dict(re.findall(r"^(DataFile|NumberOfChannels|DataPoints|BinaryFormat)=(.*?)\s*$", text, re.MULTILINE))
    data = path.with_name(found.get("DataFile", "?").replace("$b", path.stem))
    sample_bytes = {"INT_16": 2, "IEEE_FLOAT_32": 4}.get(found.get("BinaryFormat", ""))
    if not data.is_file() or sample_bytes is None or not found.get("NumberOfChannels", "").isdigit():
        return
    size, frame = data.stat().st_size, int(found["NumberOfChannels"]) * sample_bytes
    points = int(found["DataPoints"]) if found.get("DataPoints", "").isdigit() else size // frame
    if size != points * frame:
        raise DataError(
            f"{data} has {size} bytes, which is not what {path.name} describes ({points} time steps of {frame} bytes): "
            "fetch both files again, or read what is there with strict=False."
        )


def _open(path: Path, strict: bool, options: dict[str, Any]) -> Any:
    import mne

    if path.suffix.lower() in (".edf", ".bdf"):
        options.setdefault("infer_types", True)
        if strict:
            _check_edf_size(path)
    if strict and path.suffix.lower() == ".vhdr":
        _check_brainvision_size(path)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            reader = mne.io.read_raw_egi if path.suffix.lower() == ".raw" else mne.io.read_raw
            raw = reader(path, preload=False, verbose="warning", **options)
    except Exception as error:
        if ".fif" in path.suffixes and any(
            said in str(error) for said in ("No raw data", "Could not find measurement")
        ):
            raise DataError(
                f"{path} holds no continuous recording: evoked, epochs and covariance files are not read here, and a "
                "damaged file has to be fetched again."
            ) from error
        said = " ".join(str(error).split())[:300]
        raise DataError(
            f"{path} cannot be read by mne ({type(error).__name__}: {said}): check or fetch the file again."
        ) from error
    words = (*SUSPICIOUS, "outside data range") if path.suffix.lower() == ".vhdr" else SUSPICIOUS
    for warning in caught:
        said = " ".join(str(warning.message).split())[:300]
        if strict and any(word in said.lower() for word in words):
            raise DataError(f"{path} disagrees with its header ({said}): fetch it again, or read it with strict=False.")
        logger.debug("%s: %s", path, said)
    return raw


def from_raw(raw: Any, *, picks: str | Sequence[str] | None = None, source: str = "") -> Recording:
    """Make a recording of an ``mne.io.Raw``; see :func:`read_mne` for units and picks.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Stays as it is.
    picks : str or sequence of str, optional
        Channel names or MNE channel types.
    source : str
        Where it comes from, for messages and the metadata table; its file name by default.

    Returns
    -------
    Recording

    Raises
    ------
    DataError
        When it has none of ``picks``, or the signals cannot be read.

    Examples
    --------
    >>> import mne, numpy as np
    >>> info = mne.create_info(["Fz"], 100.0, "eeg")
    >>> from_raw(mne.io.RawArray(np.full((1, 200), 1e-6), info, verbose="error")).channels.unit
    'uV'
    """
    import mne

    source = source or str((raw.filenames or [""])[0] or "raw")
    types = raw.get_channel_types()
    if picks is None:
        index = [i for i, kind in enumerate(types) if kind not in NOT_SIGNALS]
    else:
        wanted = {picks} if isinstance(picks, str) else set(picks)
        index = [i for i, (name, kind) in enumerate(zip(raw.ch_names, types, strict=True)) if {name, kind} & wanted]
        unknown = sorted(wanted - set(raw.ch_names) - set(types))
        if unknown:
            raise DataError(
                f"{source} has no channels {unknown}: it has {raw.ch_names} of the types {sorted(set(types))}."
            )
    if not index:
        raise DataError(f"{source} has no channels to read: it has {raw.ch_names} of the types {sorted(set(types))}.")
    try:
        data = raw.get_data(picks=index, verbose="error")
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise DataError(f"{source}: the signals cannot be read ({said}): fetch the file again.") from error
    channels = channels_of(mne.pick_info(raw.info, index, verbose="error"))
    data *= np.array([unit_of(kind)[1] for kind in channels.types])[:, None]
    annotations = [
        Annotation(float(a["onset"] - raw.first_time), float(a["duration"]), str(a["description"]))
        for a in raw.annotations
    ]
    bads = tuple(name for name in raw.info["bads"] if name in channels.names)
    return Recording(data, channels, annotations=annotations, source=source, bads=bads)


def read_mne(
    path: str | Path,
    *,
    picks: str | Sequence[str] | None = None,
    montage: str | None = None,
    strict: bool = True,
    **options: Any,
) -> Recording:
    """Read a continuous recording with ``mne.io.read_raw``.

    Parameters
    ----------
    path : str or Path
        File, or folder for CTF ``.ds`` and EGI ``.mff``.
    picks : str or sequence of str, optional
        Channel names or MNE channel types to keep, in the order of the file. By default everything but stimulus and
        system channels.
    montage : str, optional
        Standard montage of MNE such as ``"standard_1020"``, for positions that the file does not hold.
    strict : bool
        Refuse a file whose size disagrees with its header; otherwise read what is there.
    **options
        Given to ``mne.io.read_raw``. For EDF and BDF ``infer_types=True`` is the default: a channel ``"ECG II"``
        becomes ``"II"`` of the type ``"ecg"``.

    Returns
    -------
    Recording
        Voltages in uV, magnetometers in fT, gradiometers in fT/cm, other types in SI units; ``channels.unit`` is the
        unit of the most frequent type. Annotations in seconds from the first sample; positions in metres, head
        coordinates.

    Raises
    ------
    DataNotFoundError
        When the file is missing.
    DataError
        When it is truncated, corrupt, no continuous recording or holds none of ``picks``.

    Examples
    --------
    >>> recording = read_mne("Subject01_1.edf", picks="eeg")  # doctest: +SKIP
    """
    path = Path(path)
    if not path.exists():
        raise DataNotFoundError(f"{path} does not exist: check the path.")
    if path.suffix.lower() in (".eeg", ".vmrk") and path.with_suffix(".vhdr").is_file():
        path = path.with_suffix(".vhdr")
    raw = _open(path, strict, options)
    if montage is not None:
        raw.set_montage(montage, match_case=False, on_missing="ignore", verbose="error")
    return from_raw(raw, picks=picks, source=str(path))
