"""Sound files of stimuli."""

from __future__ import annotations

import logging
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np

from tscl.errors import DataError, DataNotFoundError

log = logging.getLogger(__name__)

UNKNOWN_LENGTH = 0xFFFFFFFF
"""Length in the header of a WAV file that was written to a pipe."""
HEADER_SLACK = 16
"""Bytes by which the length in a header may be wrong."""


def read_sound(path: str | Path, sfreq: float | None = None) -> tuple[np.ndarray, float]:
    """Read a WAV file as one channel.

    Parameters
    ----------
    path : path
        PCM or floating-point WAV.
    sfreq : float, optional
        Sampling rate to bring it to, Hz; that of the file by default.

    Returns
    -------
    sound : ndarray, shape (n,), float32
        Integer formats are scaled to [-1, 1]. A file of several channels is averaged over them, with a logged warning.
    sfreq : float
        Sampling rate, Hz.

    Raises
    ------
    DataNotFoundError
        When there is no such file.
    DataError
        When it is no WAV file, damaged, cut off, empty or holds infinite values.

    Examples
    --------
    >>> sound, sfreq = read_sound("story00.wav", sfreq=16000)  # doctest: +SKIP
    """
    from scipy.io import wavfile

    path = Path(path)
    if not path.is_file():
        raise DataNotFoundError(f"the sound file {path} does not exist: put the study's sound files in place.")
    _check_whole(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            rate, data = wavfile.read(path)
    except Exception as error:
        raise DataError(f"{path} cannot be read as a WAV file ({error}): convert it to PCM WAV.") from error
    if not len(data):
        raise DataError(f"{path} holds no sound: fetch the file again.")
    if data.dtype.kind in "iu":
        info = np.iinfo(data.dtype)
        middle = 0.0 if data.dtype.kind == "i" else (info.max + 1) / 2
        data = (data.astype(np.float64) - middle) / (info.max + 1 - middle)
    if data.ndim == 2:
        if data.shape[1] > 1:
            log.warning("%s has %d channels: their mean is used.", path, data.shape[1])
        data = data.mean(axis=1)
    if not np.isfinite(data).all():
        raise DataError(f"{path} holds infinite or missing values: convert it to PCM WAV again.")
    return resample_sound(data, float(rate), sfreq or float(rate)), sfreq or float(rate)


def _check_whole(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(8)
    length, promised = path.stat().st_size, int.from_bytes(head[4:], "little")
    if head[:4] == b"RIFF" and promised != UNKNOWN_LENGTH and length < promised + 8 - HEADER_SLACK:
        raise DataError(
            f"{path} is cut off: it has {length} of the {promised + 8} bytes in its header; fetch it again."
        )


def sound_seconds(path: str | Path) -> float:
    """Return the length of a WAV file in seconds; raises what :func:`read_sound` raises."""
    sound, sfreq = read_sound(path)
    return len(sound) / sfreq


def resample_sound(sound: np.ndarray, sfreq: float, new: float) -> np.ndarray:
    """Resample a sound (n,) from one rate to another (Hz) with a polyphase anti-aliasing filter, as float32."""
    from scipy.signal import resample_poly

    if sfreq == new:
        return sound.astype(np.float32)
    ratio = Fraction(new / sfreq).limit_denominator(10_000)
    return resample_poly(sound.astype(np.float64), ratio.numerator, ratio.denominator).astype(np.float32)
