"""How good an encoder is on what chooses between models: validation patients, or the validation part of a series."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from tscl.data import SeriesTask, Split, WindowDataset
from tscl.errors import ConfigError
from tscl.evaluation.embedding import embed
from tscl.evaluation.forecasting import RidgeForecaster, embedding_features, evaluate_forecasts
from tscl.evaluation.metrics import classification_metrics, group_ids
from tscl.evaluation.probe import LinearProbe


def labelled_sides(split: Split) -> tuple[WindowDataset, WindowDataset]:
    """Return the labelled windows of the training and of the validation side.

    Raises
    ------
    ConfigError
        When there are no validation windows, or a side has no two classes.
    """
    if split.val is None or not len(split.val):
        raise ConfigError("there are no validation patients to judge on: give them a share with data.init_args.split.")
    sides = []
    for what, data in {"training": split.train, "validation": split.val}.items():
        if data.y is None or len(np.unique(data.y[data.y >= 0])) < 2:
            raise ConfigError(
                f"the {what} patients have no labels of two classes in the column {data.target!r}: name another "
                "target, or judge by a value that training logs."
            )
        sides.append(data.select(data.y >= 0))
    return sides[0], sides[1]


def probe_score(
    encoder: nn.Module, split: Split, metric: str, pooling: str = "max", device: torch.device | str | None = None
) -> float:
    """Fit a linear probe on training patients and score it on validation patients; test patients are not looked at.

    The penalty is chosen by cross-validation over the training patients, so that validation patients are used once.

    Parameters
    ----------
    encoder : nn.Module
    split : Split
    metric : str
        One of :func:`classification_metrics`, a window each.
    pooling : str
        See :func:`embed`.
    device : torch.device or str, optional
        Where to embed; the encoder's own by default.

    Returns
    -------
    float

    Raises
    ------
    ConfigError
        As :func:`labelled_sides` says.
    """
    train, val = labelled_sides(split)
    h_train, h_val = (embed(encoder, data, pooling=pooling, device=device) for data in (train, val))
    n_classes = len(train.classes)
    groups = group_ids(train, train.subject_level)
    probe = LinearProbe(class_weight="balanced").fit(h_train, train.y, n_classes=n_classes, groups=groups)
    return float(classification_metrics(np.asarray(val.y), probe.predict_proba(h_val), n_classes)[metric])


def validation_task(task: SeriesTask) -> tuple[SeriesTask, list[int]]:
    """Return the series cut off where its test part begins, and the horizons that are judged.

    The first half of the validation part stays what chooses penalties; the second half takes the test part's place.

    Raises
    ------
    ConfigError
        When no horizon fits into half of the validation part.
    """
    begin, end = task.parts.val.start, task.parts.val.stop
    middle = (begin + end) // 2
    horizons = [horizon for horizon in task.horizons if horizon < end - middle]
    if not horizons:
        raise ConfigError(
            f"{task.name}: none of the horizons {list(task.horizons)} fits into half of the validation part, "
            f"{end - middle} steps: use shorter ones, or judge by a value that training logs."
        )
    parts = replace(task.parts, val=slice(begin, middle), test=slice(middle, end))
    return replace(task, x=task.x[:, :end], parts=parts), horizons


def forecast_score(
    encoder: nn.Module, task: SeriesTask, metric: str, device: torch.device | str | None = None
) -> float:
    """Forecast the second half of the validation part by ridge regression on embeddings; the test part is not seen.

    Parameters
    ----------
    encoder : nn.Module
    task : SeriesTask
    metric : {"mse", "mae"}
        Of standardised values, averaged over horizons.
    device : torch.device or str, optional
        Where to embed; the CPU by default.

    Returns
    -------
    float

    Raises
    ------
    ConfigError
        As :func:`validation_task` says.
    """
    cut, horizons = validation_task(task)
    ridge = RidgeForecaster(embedding_features(encoder, device=device))
    return float(evaluate_forecasts({"ridge": ridge}, cut, horizons).table[metric].mean())
