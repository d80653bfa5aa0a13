"""Fitted models on disk, in the layout of the Hugging Face hub. No pickle is written or read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.base import BaseEstimator

from tscl.encoders.pretrained import CONFIG, read_config, write_pretrained
from tscl.errors import DataError

FIRST = "estimator.json"
"""What format 1 had in the place of ``config.json``."""


def write_model(folder: Path, model: Any, use: str, card: Mapping[str, Any] | None, **fitted: Any) -> None:
    """Write encoder, card, class, JSON-ready parameters and what was fitted into an existing folder.

    ``use`` is what the card's example does with the opened ``model``; ``history_`` is written without being named.
    """
    kind = type(model).__name__
    history = {name: [_finite(value) for value in column] for name, column in model.history_.items()}
    write_pretrained(
        folder,
        model.encoder_,
        f"import tscl\n\nmodel = tscl.{kind}.from_pretrained(FOLDER)\n{use}",
        card,
        estimator=kind,
        params={name: value for name, value in model.get_params(deep=False).items() if _is_plain(value)},
        history=history,
        **fitted,
    )


def read_model(folder: Path, kind: type[BaseEstimator]) -> tuple[Any, dict[str, Any]]:
    """Return an estimator with the saved parameters and history, and all that its description says.

    Raises
    ------
    DataNotFoundError, DataError
        When the folder holds no model, another estimator's, or one of another format.
    """
    first = (folder / FIRST).exists() and not (folder / CONFIG).exists()
    said = _first_format(folder) if first else read_config(folder)
    estimator = said.get("estimator", "bare encoder")
    if estimator != kind.__name__:
        raise DataError(f"{folder} holds a {estimator}, not a {kind.__name__}: load it with that class.")
    try:
        model, history = kind(**said["params"]), pd.DataFrame(said["history"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the description of the {estimator} in {folder} is damaged ({error}): save it again."
        ) from error
    model.history_ = history.astype({name: float for name in history if history[name].dtype == object})
    return model, said


def fitted_values(folder: Path, said: Mapping[str, Any], *names: str) -> list[Any]:
    """Return entries of a description.

    Raises
    ------
    DataError
        When one is missing.
    """
    if missing := [name for name in names if name not in said]:
        raise DataError(f"the description of the model in {folder} has no {missing[0]}: save the model again.")
    return [said[name] for name in names]


def _first_format(folder: Path) -> dict[str, Any]:
    try:
        said = json.loads((folder / FIRST).read_text())
    except (ValueError, OSError) as error:
        raise DataError(f"{folder / FIRST} is damaged ({error}): save the model again.") from error
    if not isinstance(said, dict) or said.get("format_version") != 1:
        raise DataError(f"{folder / FIRST} is not a description of format 1: save the model again.")
    return said


def _finite(value: Any) -> Any:
    return value if math.isfinite(value) else None


def _is_plain(value: Any) -> bool:
    try:
        return json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError):
        return False
