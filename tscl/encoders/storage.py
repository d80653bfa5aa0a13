"""Encoders and other modules on disk: weights as safetensors, architecture as JSON. No pickle is written or read."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from tscl.errors import ConfigError, DataError, DataNotFoundError

WEIGHTS, ARCHITECTURE = "encoder.safetensors", "encoder.json"


def save_state(module: nn.Module, path: str | Path) -> None:
    """Write the weights and buffers of a module as safetensors.

    Parameters
    ----------
    module : nn.Module
    path : path
        File to write.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    save_file(state, path)


def load_state(module: nn.Module, path: str | Path, device: str | torch.device = "cpu") -> None:
    """Read what :func:`save_state` wrote into a module of the same architecture.

    Parameters
    ----------
    module : nn.Module
    path : path
    device : str or torch.device
        Where the file's tensors are put first; the module stays where it is.

    Raises
    ------
    DataNotFoundError
        When there is no such file.
    DataError
        When the file is damaged, or its weights do not fit the module.
    """
    path = Path(path)
    try:
        module.load_state_dict(load_file(path, device=str(device)))
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{path} does not exist: there are no saved weights.") from error
    except (ValueError, OSError, SafetensorError) as error:
        raise DataError(f"{path} is damaged ({error}): save it again.") from error
    except RuntimeError as error:
        raise DataError(f"the weights in {path} do not fit the {type(module).__name__}: {error}") from error


def save_encoder(encoder: nn.Module, folder: str | Path) -> None:
    """Write the weights, and the architecture where the encoder has a ``config()``, into an existing folder.

    Parameters
    ----------
    encoder : nn.Module
    folder : path
        Must exist; gets ``encoder.safetensors`` and ``encoder.json``.
    """
    folder = Path(folder)
    save_state(encoder, folder / WEIGHTS)
    (folder / ARCHITECTURE).write_text(json.dumps(describe(encoder), indent=1))


def describe(encoder: nn.Module) -> dict[str, Any]:
    """Return the class of an encoder, and its constructor arguments or None where it has no ``config()``."""
    kind = type(encoder)
    init_args = encoder.config() if callable(getattr(encoder, "config", None)) else None
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": init_args}


def load_encoder(folder: str | Path, encoder: nn.Module | None = None, device: str | torch.device = "cpu") -> nn.Module:
    """Read what :func:`save_encoder` wrote.

    Parameters
    ----------
    folder : path
        Folder with the two files.
    encoder : nn.Module, optional
        The module to load the weights into; needed where the saved encoder's class has no ``config()``.
    device : str or torch.device
        Where the weights go.

    Raises
    ------
    DataNotFoundError, DataError
        When a file is missing or damaged.
    ConfigError
        When the architecture cannot be rebuilt without ``encoder``.
    """
    folder = Path(folder)
    try:
        description = json.loads((folder / ARCHITECTURE).read_text())
    except FileNotFoundError as error:
        raise DataNotFoundError(
            f"{folder} holds no saved encoder ({WEIGHTS} and {ARCHITECTURE} are expected)."
        ) from error
    except (ValueError, OSError) as error:
        raise DataError(f"{folder / ARCHITECTURE} is damaged ({error}): save the encoder again.") from error
    if encoder is None:
        encoder = rebuild(description, folder / ARCHITECTURE)
    load_state(encoder, folder / WEIGHTS, device)
    return encoder.to(device)


def rebuild(description: Any, source: Path) -> nn.Module:
    """Build the architecture that :func:`describe` described in the file ``source``.

    Raises
    ------
    DataError
        When the description is not one.
    ConfigError
        When the class has no ``config()``, cannot be imported, is no torch module, or takes other arguments.
    """
    try:
        class_path, init_args = description["class_path"], description["init_args"]
        module, _, name = class_path.rpartition(".")
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{source} does not describe an encoder (class_path and init_args): save it again.") from error
    if init_args is None:
        raise ConfigError(
            f"the encoder in {source.parent} is a {class_path}, which has no config(): "
            "build one and pass it as encoder=."
        )
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"the encoder's class {class_path} cannot be imported: {error}.") from error
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ConfigError(f"{class_path} in {source} is not a torch module.")
    try:
        return kind(**init_args)
    except TypeError as error:
        raise ConfigError(f"{class_path} cannot be built from the init_args in {source} ({error}).") from error
