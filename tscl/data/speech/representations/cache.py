"""Features of sound files, each computed once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tscl.data.cachekey import describe, file_hash
from tscl.data.speech.representations.base import SpeechRepresentation
from tscl.data.speech.sounds import read_sound, resample_sound
from tscl.errors import DataError
from tscl.files import atomic_file

VERSION = 1
"""Raised when cached features of older versions of tscl must be computed again."""

log = logging.getLogger(__name__)


def speech_features(
    representation: SpeechRepresentation,
    sounds: Sequence[str | Path],
    sfreq: float,
    cache: str | Path | None = None,
    progress: bool = False,
) -> dict[str, np.ndarray]:
    """Compute the features of every distinct sound file once.

    Files of the same content share one computation. Files whose sampling rate is below ``representation.sound_sfreq``
    are upsampled, with one logged warning for all of them.

    Parameters
    ----------
    representation : SpeechRepresentation
    sounds : sequence of path
        WAV files; a path may be given many times.
    sfreq : float
        Rate of the features, Hz: column k is at k / sfreq seconds of the sound.
    cache : path, optional
        Folder for features on disk, one ``.npy`` a sound, named by the content of the sound and of the representation's
        model files, its settings and ``sfreq``. A damaged one is computed again.
    progress : bool, default=False
        Show a bar.

    Returns
    -------
    dict of str to ndarray, shape (F, T), float32
        By path, as given. Read-only memory maps where there is a cache.

    Raises
    ------
    DataNotFoundError
        When a sound file or a model file does not exist.
    DataError
        When a sound cannot be read, its features are not finite, or the cache cannot be written.

    Examples
    --------
    >>> features = speech_features(LogMel(), ["story00.wav"], sfreq=120.0, cache="features")  # doctest: +SKIP
    """
    from tqdm.auto import tqdm

    names = list(dict.fromkeys(str(sound) for sound in sounds))
    files = [(path.name, file_hash(path)) for path in representation.files]
    settings = describe([VERSION, float(sfreq), representation.settings(), files])
    found: dict[str, np.ndarray] = {}
    keys: dict[str, str] = {}
    rates: list[float] = []
    for name in tqdm(names, desc="speech features", unit="sound", disable=not progress):
        keys[name] = key = hashlib.sha256((file_hash(Path(name)) + settings).encode()).hexdigest()
        if key in found:
            continue
        path = None if cache is None else Path(cache) / f"{key}.npy"
        kept = None if path is None else open_features(path)
        if kept is None:
            kept, rate = compute(representation, name, sfreq)
            rates.append(rate)
            if path is not None:
                with atomic_file(path) as temporary, temporary.open("wb") as file:
                    np.save(file, kept, allow_pickle=False)
                kept = np.load(path, mmap_mode="r", allow_pickle=False)
        found[key] = kept
    low = [rate for rate in rates if rate < representation.sound_sfreq]
    if low:
        log.warning(
            "%d of %d sound files are sampled below the %g Hz of %s and were upsampled: nothing lies above half their "
            "own rate, %g Hz at the least.",
            len(low),
            len(rates),
            representation.sound_sfreq,
            type(representation).__name__,
            min(low) / 2,
        )
    return {name: found[key] for name, key in keys.items()}


def compute(representation: SpeechRepresentation, sound: str | Path, sfreq: float) -> tuple[np.ndarray, float]:
    """Compute the features of one sound file.

    Returns
    -------
    features : ndarray, shape (F, T), float32
    rate : float
        Sampling rate of the file, Hz.

    Raises
    ------
    DataError
        When the features are not finite; and what :func:`tscl.data.speech.read_sound` raises.
    """
    heard, rate = read_sound(sound)
    features = representation(resample_sound(heard, rate, representation.sound_sfreq), sfreq)
    if not np.isfinite(features).all():
        raise DataError(
            f"{type(representation).__name__} gives values that are not finite for {sound}: check its settings."
        )
    return features, rate


def open_features(path: Path) -> np.ndarray | None:
    """Open cached features as a memory map; None where there are none, or damaged ones (logged)."""
    if not path.is_file():
        return None
    try:
        kept = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(kept, np.ndarray) and kept.ndim == 2 and kept.dtype == np.float32:
            return kept
    except (OSError, ValueError, EOFError) as error:
        log.debug("%s: %s", path, error)
    log.warning("the cached features %s are damaged: they are computed again.", path)
    return None
