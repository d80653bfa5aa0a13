"""Any speech model in the ONNX format, run by onnxruntime."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tscl.data.speech.representations.base import SpeechRepresentation, in_chunks, standardised
from tscl.errors import ConfigError, DataError, DataNotFoundError

BATCH = 64
"""Windows of frames that are given to a model at a time."""


class OnnxSpeech(SpeechRepresentation):
    """Outputs of an ONNX model over time: of a model that hears sound, or one that sees windows of another's frames.

    The graph's input tells which: ``(n)``, ``(batch, n)`` or ``(batch, 1, n)`` with a free n is sound; ``(batch,
    window, bins)``, with or without axes of length 1, are the frames of a ``front_end``. The axis of a sound model's
    output that grows with the sound is time, all others are features. Its frames' spacing and extent are measured by
    trying lengths of silence, so the time of every frame is known to the sample; padding is taken to be the same on
    both sides. A sound of less than a second is followed by silence. Of a window model every output value is a feature,
    at the middle of its window.

    Long sounds go through a model in chunks with context. The result is that of one pass where an output depends on no
    more than ``context``. A model that looks at its whole input (attention, or a floor relative to the loudest moment:
    openWakeWord's spectrogram cuts off 80 dB below) sees a chunk instead; where memory allows, take a longer ``chunk``.

    Parameters
    ----------
    path : path
        The model.
    front_end : SpeechRepresentation, optional
        Gives the frames for a window model: another ``OnnxSpeech``, or ``LogMel``.
    scale, shift : float, default=1 and 0
        The model is given ``scale * input + shift``: ``scale=32767`` for one that expects 16-bit integers as floats.
    standardise : bool, default=False
        Bring every sound to mean 0 and variance 1 first, as wav2vec 2.0 expects.
    window : int, optional
        Frames of a window, for a graph that leaves them free.
    hop : int, default=8
        Frames from window to window.
    output : str, optional
        Name of the output to take; the first by default.
    chunk, context : float, default=60 and 1
        Length of a chunk and of the context on either side of it, s.
    sound_sfreq : float, default=16000
        Sampling rate that a sound model expects, Hz; with a ``front_end``, its rate is taken instead.

    Raises
    ------
    DataNotFoundError
        When there is no such file.
    DataError
        When it is no ONNX model, or its input or output is of another kind; at first use.
    ConfigError
        When a front end is missing or does not fit, or without ``onnxruntime``; at first use.

    Examples
    --------
    Google's speech embedding as openWakeWord packs it, 96 values every 80 ms:

    >>> mel = OnnxSpeech("melspectrogram.onnx", scale=32767, chunk=300)  # doctest: +SKIP
    >>> speech = OnnxSpeech("embedding_model.onnx", front_end=mel, scale=0.1, shift=2.0)  # doctest: +SKIP
    >>> speech(sound, sfreq=120.0).shape  # 3 s at 16 kHz  # doctest: +SKIP
    (96, 360)
    """

    name: ClassVar[str] = "onnx"
    unkeyed: ClassVar[frozenset[str]] = frozenset({"path"})

    def __init__(
        self,
        path: str | Path,
        front_end: SpeechRepresentation | None = None,
        scale: float = 1.0,
        shift: float = 0.0,
        standardise: bool = False,
        window: int | None = None,
        hop: int = 8,
        output: str | None = None,
        chunk: float = 60.0,
        context: float = 1.0,
        sound_sfreq: float = 16_000.0,
    ) -> None:
        if not Path(path).is_file():
            raise DataNotFoundError(f"the model {path} does not exist: put the ONNX file in place.")
        if hop < 1 or (window is not None and window < 1):
            raise ConfigError(f"window={window} and hop={hop} must be at least 1.")
        if chunk <= 0 or context < 0.1:
            raise ConfigError(f"chunk={chunk} s must be positive and context={context} s at least 0.1.")
        self.path, self.front_end, self.scale, self.shift = str(path), front_end, float(scale), float(shift)
        self.standardise, self.window, self.hop, self.output = standardise, window, hop, output
        self.chunk, self.context = float(chunk), float(context)
        self.sound_sfreq = float(front_end.sound_sfreq if front_end else sound_sfreq)

    @property
    def files(self) -> tuple[Path, ...]:
        """The model with the files of weights beside it that are named after it, and those of the front end."""
        path = Path(self.path)
        beside = sorted(p for p in path.parent.iterdir() if p.name.startswith((f"{path.name}.", f"{path.name}_")))
        return (path, *beside, *(self.front_end.files if self.front_end else ()))

    @functools.cached_property
    def _session(self) -> Any:
        return open_session(self.path)

    @functools.cached_property
    def _timing(self) -> tuple[int, int, int]:
        return measure(self._run, round(self.sound_sfreq), self.path)

    def _run(self, values: np.ndarray) -> np.ndarray:
        names = [output.name for output in self._session.get_outputs()]
        if self.output is not None and self.output not in names:
            raise ConfigError(f"{self.path} has no output {self.output!r}: choose among {names}.")
        (wanted,) = self._session.get_inputs()
        if len(wanted.shape) == values.ndim + 1:
            values = values[:, None]
        if len(wanted.shape) == 1:
            values = values[0]
        values = np.asarray(self.scale * values + self.shift, dtype=np.float32)
        try:
            return np.asarray(self._session.run([self.output or names[0]], {wanted.name: values})[0])
        except Exception as error:
            said = " ".join(str(error).split())[:200]
            raise DataError(f"{self.path} fails on an input of shape {values.shape} ({said}).") from error

    def frames(self, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the model's frames, or one for each window of the front end's frames. See the base class."""
        shape = self._session.get_inputs()[0].shape
        one_axis = len(shape) in (1, 2) or (len(shape) == 3 and shape[1] == 1)
        hears = one_axis and not isinstance(shape[-1], int)
        if self.front_end is None:
            if not hears:
                raise ConfigError(
                    f"{self.path} takes an input of shape {shape}, which is no sound of any length: pass the front_end "
                    "that makes frames for it, or export it with a free length."
                )
            return self._sound_frames(sound)
        if hears:
            raise ConfigError(f"{self.path} takes sound (shape {shape}): leave out front_end.")
        return self._window_frames(*self.front_end.frames(sound))

    def _sound_frames(self, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        axis, hop, extent = self._timing
        if self.standardise:
            sound = standardised(sound)

        def run(piece: np.ndarray) -> np.ndarray:
            out = np.moveaxis(self._run(piece[None]), axis, -1)
            return out.reshape(-1, out.shape[-1]).astype(np.float32)

        sound = np.pad(sound, (0, max(round(self.sound_sfreq) - len(sound), 0)))
        chunk, context = (round(seconds * self.sound_sfreq) for seconds in (self.chunk, self.context))
        features = in_chunks(sound, run, hop, chunk, max(context, extent))
        return features, (np.arange(features.shape[1]) * hop + extent / 2) / self.sound_sfreq

    def _window_frames(self, frames: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = self._session.get_inputs()[0].shape
        sizes = [size for size in shape[1:] if size != 1]
        n_bins = len(frames)
        if len(sizes) != 2 or n_bins not in sizes:
            raise ConfigError(
                f"{self.path} takes an input of shape {shape}: not (batch, window, {n_bins}), its front_end's bins."
            )
        bins_last = sizes[1] == n_bins
        window = sizes[0] if bins_last else sizes[1]
        if not isinstance(window, int):
            window = self.window
        if window is None or self.window not in (None, window):
            raise ConfigError(f"{self.path} takes an input of shape {shape}: window={self.window} does not fit it.")
        frames = np.pad(frames, ((0, 0), (0, max(window - frames.shape[1], 0))), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(frames, window, axis=1)[:, :: self.hop]
        windows = windows.transpose(1, 2, 0) if bins_last else windows.transpose(1, 0, 2)
        lengths = iter(windows.shape[1:])
        inner = [1 if size == 1 else next(lengths) for size in shape[1:]]
        size = shape[0] if isinstance(shape[0], int) else BATCH
        outputs = []
        for start in range(0, len(windows), size):
            batch = windows[start : start + size]
            out = self._run(batch.reshape(len(batch), *inner))
            if len(out) != len(batch):
                raise DataError(f"{self.path} gives an output of shape {out.shape} for {len(batch)} windows of frames.")
            outputs.append(out.reshape(len(batch), -1).astype(np.float32))
        spacing = times[1] - times[0] if len(times) > 1 else 0.0
        middles = times[0] + spacing * (np.arange(len(windows)) * self.hop + (window - 1) / 2)
        return np.concatenate(outputs).T, middles


def open_session(path: str) -> Any:
    """Open an ONNX model with one input of 32-bit floats on the CPU.

    Returns
    -------
    onnxruntime.InferenceSession

    Raises
    ------
    ConfigError
        Without ``onnxruntime``.
    DataError
        When the file is no ONNX model, or has other inputs.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError('OnnxSpeech needs onnxruntime: pip install "tscl[speech]".') from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read as an ONNX model ({said}): fetch or export it again.") from error
    inputs = [(entry.name, entry.type, entry.shape) for entry in session.get_inputs()]
    if len(inputs) != 1 or inputs[0][1] != "tensor(float)" or not inputs[0][2]:
        raise DataError(f"{path} takes {inputs}: export it with one input of 32-bit floats, sound or frames.")
    return session


def measure(run: Callable[[np.ndarray], np.ndarray], n: int, path: str) -> tuple[int, int, int]:
    """Find where a sound model's frames lie by trying lengths of silence.

    Parameters
    ----------
    run : callable
        From sound (1, n) to the model's output.
    n : int
        Length to begin with, samples.
    path : str
        Named in errors.

    Returns
    -------
    axis : int
        Of time in the output.
    hop : int
        Samples from frame to frame.
    extent : int
        Samples of a frame, less those that the model pads: frame k is centred at ``k * hop + extent / 2``.

    Raises
    ------
    DataError
        When no axis of the output grows with the sound, more than one does, or not evenly.
    """
    shapes = [run(np.zeros((1, length), dtype=np.float32)).shape for length in (n, 2 * n)]
    grows = [axis for axis in range(len(shapes[0])) if shapes[0][axis] != shapes[1][axis]]
    if len(grows) != 1:
        raise DataError(
            f"{path} gives outputs of shape {shapes[0]} and {shapes[1]} for sounds of {n} and {2 * n} samples: one "
            "axis must grow with the sound, take another output or model."
        )
    axis = grows[0]

    def count(length: int) -> int:
        return int(run(np.zeros((1, length), dtype=np.float32)).shape[axis])

    def shortest(frames: int, low: int, high: int) -> int:
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if count(middle) >= frames else (middle, high)
        return high

    have = shapes[0][axis]
    first = shortest(have + 1, n, 2 * n)
    second = shortest(have + 2, first, 2 * first)
    hop = second - first
    ahead = first + 20 * hop
    if (count(ahead - 1), count(ahead)) != (have + 20, have + 21):
        raise DataError(f"{path} gives frames that are not evenly spaced by whole samples: take another model.")
    return axis, hop, first - have * hop
