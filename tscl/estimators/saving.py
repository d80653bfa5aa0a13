"""Fitted models on disk: a JSON description beside weights in safetensors. No pickle is written or read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator

import tscl
from tscl.errors import DataError, DataNotFoundError

FORMAT_VERSION = 1
DESCRIPTION = "estimator.json"


def check_new(folder: Path) -> None:
    """Refuse a folder that exists.

    Raises
    ------
    DataError
    """
    if folder.exists():
        raise DataError(f"{folder} exists already: remove it or choose another folder.")


def write_description(folder: Path, model: BaseEstimator, **fitted: Any) -> None:
    """Write the estimator's class, its JSON-ready parameters and what was fitted into an existing folder."""
    description = {
        "format_version": FORMAT_VERSION,
        "tscl_version": tscl.__version__,
        "estimator": type(model).__name__,
        "params": {name: value for name, value in model.get_params(deep=False).items() if _is_plain(value)},
        **fitted,
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1))


def read_description(folder: Path, estimator: str) -> dict[str, Any]:
    """Read what :func:`write_description` wrote.

    Raises
    ------
    DataNotFoundError, DataError
        When the folder holds no model, another estimator's, or one of another format.
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{folder} holds no saved model: {DESCRIPTION} is missing.") from error
    except ValueError as error:
        raise DataError(f"{folder / DESCRIPTION} is damaged ({error}): save the model again.") from error
    if description["estimator"] != estimator:
        raise DataError(f"{folder} holds a {description['estimator']}, not a {estimator}: load it with that class.")
    if description["format_version"] != FORMAT_VERSION:
        raise DataError(f"{folder} has format {description['format_version']}, this version reads {FORMAT_VERSION}.")
    return description


def _is_plain(value: Any) -> bool:
    try:
        return json.loads(json.dumps(value)) == value
    except (TypeError, ValueError):
        return False
