"""What a speech representation is: sound in, features over time out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tscl.errors import DataNotFoundError


class SpeechRepresentation(ABC):
    """Features of a sound over time. A subclass writes :meth:`frames` and says which ``sound_sfreq`` it listens at.

    Constructor arguments are kept under their own names; attributes that begin with ``_`` hold what is derived from
    them, such as a loaded model, and are neither pickled nor part of the settings.

    Attributes
    ----------
    name : str
        Short name.
    unkeyed : frozenset of str
        Arguments that do not change the features: the device, the place of a model file.
    sound_sfreq : float
        Sampling rate of the sound that :meth:`frames` takes, Hz.
    """

    name: ClassVar[str] = ""
    unkeyed: ClassVar[frozenset[str]] = frozenset()
    sound_sfreq: float = 16_000.0

    def __repr__(self) -> str:
        said = ", ".join(f"{key}={value!r}" for key, value in vars(self).items() if not key.startswith("_"))
        return f"{type(self).__name__}({said})"

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if not key.startswith("_")}

    def check(self) -> None:
        """Raise DataNotFoundError, before any work, when a model file is missing."""
        missing = [path for path in self.files if not path.is_file()]
        if missing:
            raise DataNotFoundError(f"the model file {missing[0]} does not exist: name the file of the model.")

    @property
    def files(self) -> tuple[Path, ...]:
        """Model files that the features depend on; their content is part of the key of cached features."""
        return ()

    def settings(self) -> dict[str, Any]:
        """Return all that the features depend on apart from the content of :attr:`files`."""
        said = {key: value for key, value in self.__getstate__().items() if key not in self.unkeyed}
        inner = {key: value.settings() for key, value in said.items() if isinstance(value, SpeechRepresentation)}
        return {"class": f"{type(self).__module__}.{type(self).__qualname__}", **said, **inner}

    @abstractmethod
    def frames(self, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the features at the representation's own frames.

        Parameters
        ----------
        sound : ndarray, shape (n,), float32
            At ``sound_sfreq``, values in [-1, 1].

        Returns
        -------
        features : ndarray, shape (F, n_frames), float32
        times : ndarray, shape (n_frames,), float64
            Middle of every frame, in seconds from the start of the sound, evenly spaced; at least one.
        """

    def __call__(self, sound: np.ndarray, sfreq: float) -> np.ndarray:
        """Compute the features at the sampling rate of the brain signals.

        Parameters
        ----------
        sound : ndarray, shape (n,), float32
            At ``sound_sfreq``.
        sfreq : float
            Rate of the result, Hz: column k is at k / sfreq seconds of the sound.

        Returns
        -------
        ndarray, shape (F, ceil(n / sound_sfreq * sfreq)), float32
            Interpolated linearly between frames where these are sparser, averaged around each step where they are
            denser; the first and the last frame reach to the ends.
        """
        features, times = self.frames(sound)
        return resample_frames(features, times, np.arange(int(np.ceil(len(sound) * sfreq / self.sound_sfreq))) / sfreq)


def resample_frames(features: np.ndarray, times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Bring features to other times: linear between sparser frames, the mean over a step of denser ones.

    Parameters
    ----------
    features : ndarray, shape (F, n)
    times : ndarray, shape (n,)
        Evenly spaced, s.
    wanted : ndarray, shape (m,)
        Evenly spaced, s. Before the first and after the last of ``times`` these two frames are held.

    Returns
    -------
    ndarray, shape (F, m), float32
    """
    result = np.empty((len(features), len(wanted)), dtype=np.float32)
    step = wanted[1] - wanted[0] if len(wanted) > 1 else 0.0
    spacing = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else np.inf
    if spacing >= step:
        for row, values in zip(result, features, strict=True):
            row[:] = np.interp(wanted, times, values)
        return result
    # The integral of the frames, each held over its spacing, between the two edges of every step.
    grid = np.append(times - spacing / 2, times[-1] + spacing / 2)
    low, high = (np.clip(wanted + side, grid[0], grid[-1]) for side in (-step / 2, step / 2))
    width = (high - low) / spacing
    outside = width < 1e-6
    nearest = np.clip(np.searchsorted(times, wanted), 0, len(times) - 1)
    for row, values in zip(result, features, strict=True):
        integral = np.append(0.0, np.cumsum(values, dtype=np.float64))
        mean = (np.interp(high, grid, integral) - np.interp(low, grid, integral)) / np.where(outside, 1.0, width)
        row[:] = np.where(outside, values[nearest], mean)
    return result


def standardised(sound: np.ndarray) -> np.ndarray:
    """Bring a sound (n,) to mean 0 and variance 1, as float32, as wav2vec 2.0 expects it; silence stays silent."""
    wide = sound.astype(np.float64)
    return ((wide - wide.mean()) / np.sqrt(wide.var() + 1e-7)).astype(np.float32)


def in_chunks(
    sound: np.ndarray, run: Callable[[np.ndarray], np.ndarray], hop: int, chunk: int, context: int
) -> np.ndarray:
    """Run a model over overlapping pieces of a sound and put their frames together as those of one pass.

    Parameters
    ----------
    sound : ndarray, shape (n,)
    run : callable
        From a piece of sound (n',) to its frames (F, n_frames); frame k begins at sample ``k * hop``.
    hop : int
        Samples from frame to frame.
    chunk, context : int
        Samples of a piece, and those that are added on both of its sides and whose frames are dropped again; the
        context is at least as long as a frame. Where frames see no further than that, the result is the one pass's.

    Returns
    -------
    ndarray, shape (F, n_frames)
    """
    n, margin = max(chunk // hop, 1), -(-context // hop)
    pieces, start, last = [], 0, False
    while not last:
        first, stop = max(start - margin, 0), (start + n + margin) * hop
        last = stop >= len(sound)
        frames = run(sound[first * hop : stop])
        pieces.append(frames[:, start - first : None if last else start - first + n])
        start += n
    return np.concatenate(pieces, axis=1)
