"""wav2vec 2.0, the speech representation of Defossez et al. 2023."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tscl.data.speech.representations.base import SpeechRepresentation, in_chunks, standardised
from tscl.errors import ConfigError, DataError, DataNotFoundError

MODEL = "facebook/wav2vec2-large-xlsr-53"
"""The model of Defossez et al. 2023."""


class Wav2Vec2(SpeechRepresentation):
    """Mean of some hidden layers of a wav2vec 2.0 model (or HuBERT, WavLM) from a folder of this machine.

    Nothing is downloaded, and only safetensors are read. The paper takes ``facebook/wav2vec2-large-xlsr-53`` and the
    last four of its 24 layers: 1,024 values every 20 ms. A sound is brought to mean 0 and variance 1 as a whole where
    the model's ``preprocessor_config.json`` says ``do_normalize``. Long sounds go through the model in chunks, each
    with context on both sides; attention then reaches to the end of the chunk instead of the sound.

    Parameters
    ----------
    folder : path
        With ``config.json``, ``preprocessor_config.json`` and the weights as safetensors, as on the model's page.
    layers : sequence of int, default=(-4, -3, -2, -1)
        Indices into ``hidden_states``: 0 is the input of the transformer, k the output of its k-th layer, -1 the last.
    device : str, default="cpu"
        As torch names it.
    chunk, context : float, default=20 and 2
        Length of a chunk and of the context on either side of it, s.

    Raises
    ------
    DataNotFoundError
        When the folder or one of its files is missing: the message says how to put them in place.
    ConfigError
        For a model of another kind, a layer or a device that is not there, or without ``transformers``.
    DataError
        When the weights are a pickle, damaged, or not all there.

    Examples
    --------
    >>> representation = Wav2Vec2("wav2vec2-large-xlsr-53")  # doctest: +SKIP
    >>> representation(sound, sfreq=120.0).shape  # 3 s at 16 kHz  # doctest: +SKIP
    (1024, 360)
    """

    name: ClassVar[str] = "wav2vec2"
    unkeyed: ClassVar[frozenset[str]] = frozenset({"folder", "device"})

    def __init__(
        self,
        folder: str | Path | None = None,
        layers: Sequence[int] = (-4, -3, -2, -1),
        device: str = "cpu",
        chunk: float = 20.0,
        context: float = 2.0,
    ) -> None:
        if not layers:
            raise ConfigError("layers is empty: name at least one, such as [-4, -3, -2, -1].")
        if chunk <= 0 or context < 0.1:
            raise ConfigError(f"chunk={chunk} s must be positive and context={context} s at least 0.1.")
        self.folder = None if folder is None else str(folder)
        self.layers, self.device = [int(layer) for layer in layers], device
        self.chunk, self.context = float(chunk), float(context)

    def check(self) -> None:
        """Raise DataNotFoundError or DataError when the folder or its weights are missing, or they are a pickle."""
        check_folder(self.folder)
        _ = self._preprocessing

    @property
    def sound_sfreq(self) -> float:  # type: ignore[override]
        """Sampling rate that the model listens at, Hz."""
        return float(self._preprocessing.get("sampling_rate", 16_000))

    @property
    def files(self) -> tuple[Path, ...]:
        """The configuration and the weights."""
        self.check()
        folder = Path(str(self.folder))
        return (folder / "config.json", folder / "preprocessor_config.json", *sorted(folder.glob("model*.safetensors")))

    @functools.cached_property
    def _preprocessing(self) -> dict[str, Any]:
        check_folder(self.folder)
        path = Path(str(self.folder)) / "preprocessor_config.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as JSON ({error}): download it again.") from error

    @functools.cached_property
    def _model(self) -> Any:
        model = load_model(self.folder)
        n = model.config.num_hidden_layers + 1
        wrong = [layer for layer in self.layers if not -n <= layer < n]
        if wrong:
            raise ConfigError(f"layers={wrong}: the model in {self.folder} has hidden states {-n} to {n - 1}.")
        try:
            return model.to(self.device)
        except (RuntimeError, AssertionError) as error:
            said = " ".join(str(error).split())[:200]
            raise ConfigError(f"device={self.device!r} cannot be used ({said}).") from error

    def frames(self, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the mean of the layers; a frame is what the convolutions see (25 ms). See the base class."""
        kernels, strides = self._model.config.conv_kernel, self._model.config.conv_stride
        hop, receptive = math.prod(strides), 1
        for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
            receptive = (receptive - 1) * stride + kernel
        if self._preprocessing.get("do_normalize", True):
            sound = standardised(sound)
        sound = np.pad(sound, (0, max(receptive - len(sound), 0)))
        chunk, context = (round(seconds * self.sound_sfreq) for seconds in (self.chunk, self.context))
        features = in_chunks(sound, self._run, hop, chunk, max(context, receptive))
        return features, (np.arange(features.shape[1]) * hop + receptive / 2) / self.sound_sfreq

    def _run(self, sound: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            values = torch.from_numpy(np.ascontiguousarray(sound))[None].to(self.device)
            states = self._model(values, output_hidden_states=True).hidden_states
            return sum(states[layer][0] for layer in self.layers).div(len(self.layers)).T.float().cpu().numpy()


def check_folder(folder: str | Path | None) -> None:
    """Raise the error that says what is missing in a model's folder, and nothing when all is there."""
    advice = (
        f"download model.safetensors, config.json and preprocessor_config.json from the page of {MODEL} into a folder "
        f"(`hf download {MODEL} --local-dir DIR`) and pass folder=DIR."
    )
    if folder is None or not Path(folder).is_dir():
        said = "Wav2Vec2 needs a model's folder" if folder is None else f"the model's folder {folder} does not exist"
        raise DataNotFoundError(f"{said}: {advice}")
    if not any(Path(folder).glob("model*.safetensors")):
        if any(Path(folder).glob("pytorch_model*.bin")):
            raise DataError(
                f"{folder} has the weights as pytorch_model.bin, a pickle, which is never loaded: convert it to "
                "model.safetensors (AutoModel.from_pretrained(...).save_pretrained(DIR) where the file is trusted)."
            )
        raise DataNotFoundError(f"{folder} has no model.safetensors: {advice}")
    for name in ("config.json", "preprocessor_config.json"):
        if not (Path(folder) / name).is_file():
            raise DataNotFoundError(f"{folder} has no {name}: {advice}")


def load_model(folder: str | Path | None) -> Any:
    """Load a wav2vec 2.0 model, or one with the same convolutions, for inference.

    Returns
    -------
    transformers.PreTrainedModel

    Raises
    ------
    DataNotFoundError, ConfigError, DataError
        See :class:`Wav2Vec2`.
    """
    check_folder(folder)
    try:
        from transformers import AutoConfig, AutoModel
        from transformers.utils import logging as transformers_logging
    except ImportError as error:
        raise ConfigError('Wav2Vec2 needs transformers: pip install "tscl[speech]".') from error
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(str(folder), **local)
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(f"{folder}/config.json describes no known model ({said}): download it again.") from error
    if not getattr(config, "conv_kernel", None) or not getattr(config, "conv_stride", None):
        raise ConfigError(f"{folder} holds a {config.model_type} model: take wav2vec 2.0, HuBERT or WavLM.")
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        model, info = AutoModel.from_pretrained(
            str(folder), config=config, use_safetensors=True, output_loading_info=True, **local
        )
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(f"the weights in {folder} cannot be read ({said}): download them again.") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    missing = sorted(set(info["missing_keys"]) - {"masked_spec_embed"})
    if missing:
        raise DataError(
            f"the weights in {folder} lack {len(missing)} tensors, first {missing[0]}: download them again."
        )
    return model.eval()
