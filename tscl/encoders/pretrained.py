"""Models in the layout of the Hugging Face hub: ``model.safetensors``, ``config.json``, and ``README.md`` as card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

import tscl
from tscl.encoders.storage import ARCHITECTURE, describe, load_encoder, load_state, rebuild, save_state
from tscl.errors import ConfigError, DataError, DataNotFoundError

MODEL, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
FORMAT_VERSION = 2
"""Version 1 had ``estimator.json``, ``encoder.json`` and ``encoder.safetensors``; it is still read."""
FETCHED = ["*.safetensors", "*.npz", f"*{CONFIG}", CARD]
INSTALL = "pip install huggingface_hub"


def write_pretrained(
    folder: Path, encoder: nn.Module, use: str, card: Mapping[str, Any] | None = None, **described: Any
) -> None:
    """Write weights, card and configuration into an existing folder.

    Parameters
    ----------
    folder : Path
    encoder : nn.Module
    use : str
        Lines of Python that open the model and embed ``X``, for the card.
    card : mapping, optional
        Further entries of the card's front matter, such as ``{"license": "mit"}``.
    **described
        Further entries of ``config.json``, JSON-ready.
    """
    said = {"format_version": FORMAT_VERSION, "tscl_version": tscl.__version__, "encoder": describe(encoder)}
    text = json.dumps({**said, **described}, indent=1, allow_nan=False)
    save_state(encoder, folder / MODEL)
    (folder / CARD).write_text(_card_text(described.get("estimator"), encoder, use, card or {}))
    (folder / CONFIG).write_text(text)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the ``config.json`` that :func:`write_pretrained` wrote.

    Raises
    ------
    DataNotFoundError, DataError
        When the file is missing, damaged, another library's, or of a later format.
    """
    path = folder / CONFIG
    try:
        said = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{folder} holds no saved model: {CONFIG} is missing.") from error
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is damaged ({error}): save the model again.") from error
    if not isinstance(said, dict) or "format_version" not in said or "encoder" not in said:
        raise DataError(f"{path} was not written by tscl: name a folder that save_pretrained wrote.")
    if said["format_version"] != FORMAT_VERSION:
        raise DataError(
            f"{folder} has format {said['format_version']}, this version of tscl reads {FORMAT_VERSION} and earlier: "
            "use the version that wrote it."
        )
    return said


def read_encoder(folder: Path, encoder: nn.Module | None = None) -> nn.Module:
    """Read the encoder of a model, in eval mode on the CPU; also of a run's folder and of format 1.

    Raises
    ------
    DataNotFoundError, DataError, ConfigError
        As :func:`read_config` and :func:`~tscl.encoders.load_encoder` say.
    """
    if not (folder / CONFIG).exists() and (folder / ARCHITECTURE).exists():
        return load_encoder(folder, encoder).eval()
    said = read_config(folder)
    if encoder is None:
        encoder = rebuild(said["encoder"], folder / CONFIG)
    load_state(encoder, folder / MODEL)
    return encoder.eval()


def find_pretrained(name_or_folder: str | Path, local_files_only: bool = True, revision: str | None = None) -> Path:
    """Return a local folder as it is; fetch a model of the Hugging Face hub where that is allowed.

    Raises
    ------
    DataNotFoundError
        When there is no such folder, or the hub does not give the model.
    ConfigError
        When huggingface_hub is not installed.
    """
    folder = Path(name_or_folder)
    if folder.is_dir():
        return folder
    name = str(name_or_folder)
    if name.count("/") != 1 or not all(name.split("/")):
        raise DataNotFoundError(f"{name} is not a folder: name one that save_pretrained wrote, or a hub's user/model.")
    if local_files_only:
        raise DataNotFoundError(
            f"{name} is not a folder here: pass local_files_only=False to fetch the model of that name from the "
            "Hugging Face hub."
        )
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise ConfigError(f"{name} is fetched by huggingface_hub, which is not installed: {INSTALL}.") from error
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=FETCHED))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".:")
        raise DataNotFoundError(f"the hub gave no {name} ({reason}): check name and connection.") from error


def check_new(folder: Path) -> None:
    """Refuse a folder that exists.

    Raises
    ------
    DataError
    """
    if folder.exists():
        raise DataError(f"{folder} exists already: remove it or choose another folder.")


def _card_text(estimator: str | None, encoder: nn.Module, use: str, card: Mapping[str, Any]) -> str:
    import yaml

    kind = type(encoder).__name__
    front = {
        "library_name": "tscl",
        "pipeline_tag": "feature-extraction",
        "tags": ["time-series", "contrastive-learning", *([estimator.lower()] if estimator else [])],
        **card,
    }
    arguments = "\n".join(f"| {name} | {value} |" for name, value in (describe(encoder)["init_args"] or {}).items())
    weights = sum(parameter.numel() for parameter in encoder.parameters())
    lines = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {estimator or kind}",
        f"```python\n{use}\n```",
        f"`{kind}` with {weights:,} weights, saved by tscl {tscl.__version__} (format {FORMAT_VERSION}).",
        f"| argument | value |\n|---|---|\n{arguments}",
        "What the model was trained on is not recorded here. Whoever shares it says so: data, their licence, which "
        "patients were seen.",
    ]
    return "\n\n".join(lines) + "\n"
