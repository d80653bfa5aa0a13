"""The windows of the embedding map: where they lie, what they are, and their signals, small enough for one file."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from tscl.data.recording import Channels
from tscl.data.windows import WindowDataset
from tscl.errors import DataError
from tscl.evaluation.embedding import embed
from tscl.plotting.embeddings import principal_plane

VALUES = 3_000_000
"""Most values of signals in a report: 8 MB of its file."""
CHANNELS, TIMES = 8, 512
MISSING = -32768
"""What a missing value is among the stored integers."""


@dataclass
class EmbeddingPoints:
    """Windows in the principal plane of their embeddings.

    Attributes
    ----------
    plane : ndarray, shape (n, 2), float64
        Coordinates.
    share : ndarray, shape (2,), float64
        Share of the variance that each component explains.
    table : DataFrame, n rows
        ``split`` (side), the levels, the label, and ``onset`` (s) and ``source`` (file name) where they are known.
    levels : tuple of str
        Columns of ``table`` that are ids, coarse to fine.
    target : str or None
        Column of ``table`` that is the label.
    signals : ndarray, shape (n, C, T), float32
        What the encoder saw; of many channels the first eight, every value the mean of ``step`` samples.
    channels : Channels
        Names, unit and sampling rate (Hz) of the recordings; only the first C are in ``signals``.
    step : int
        Samples that one value of ``signals`` stands for.
    total : int
        Windows of which these were drawn.
    """

    plane: np.ndarray
    share: np.ndarray
    table: pd.DataFrame
    levels: tuple[str, ...]
    target: str | None
    signals: np.ndarray
    channels: Channels
    step: int
    total: int

    def to_dict(self) -> dict[str, Any]:
        """Return what the page needs, ready for JSON: arrays as base64, signals as 16-bit integers."""
        stored, low, unit = quantise(self.signals)
        columns = {}
        for name in self.table.columns:
            codes, values = pd.factorize(self.table[name].map(_text), sort=True)
            columns[name] = {"codes": codes.tolist(), "values": values.tolist()}
        colours = [name for name in (self.target, "split", *self.levels) if name is not None]
        return {
            "x": _base64(self.plane[:, 0].astype("<f4")),
            "y": _base64(self.plane[:, 1].astype("<f4")),
            "share": self.share.tolist(),
            "columns": columns,
            "colours": [name for name in colours if len(columns[name]["values"]) <= 200],
            "levels": list(self.levels),
            "target": self.target,
            "shape": list(self.signals.shape),
            "signals": _base64(stored.astype("<i2")),
            "low": _base64(low.astype("<f4")),
            "unit": _base64(unit.astype("<f4")),
            "names": list(self.channels.names[: self.signals.shape[1]]),
            "n_channels": len(self.channels.names),
            "physical_unit": self.channels.unit,
            "sfreq": self.channels.sfreq / self.step,
            "step": self.step,
            "total": self.total,
        }


def embedding_points(
    encoder: nn.Module,
    sides: Mapping[str, WindowDataset],
    *,
    pooling: str = "max",
    limit: int = 2000,
    batch_size: int = 256,
    device: torch.device | str | None = None,
    seed: int = 0,
) -> EmbeddingPoints:
    """Embed windows drawn from the sides of a split and place them in their principal plane.

    Parameters
    ----------
    encoder : nn.Module
        The trained encoder.
    sides : mapping of str to WindowDataset
        See :attr:`tscl.data.Split.sides`. Of many windows, half of those drawn are of ``"test"``.
    pooling : str
        How embeddings are pooled over time, see :func:`tscl.functional.pool_time`.
    limit : int
        Most windows; fewer are drawn where their signals are long.
    batch_size : int
        Windows a batch.
    device : torch.device or str, optional
        Where to compute; the encoder's own device by default.
    seed : int
        Of the draw.

    Returns
    -------
    EmbeddingPoints

    Raises
    ------
    DataError
        When fewer than two windows have a finite embedding.
    """
    first = next(iter(sides.values()))
    n_channels, step = min(first.shape[1], CHANNELS), math.ceil(first.shape[2] / TIMES)
    n_times = math.ceil(first.shape[2] / step)
    limit = min(limit, VALUES // (n_channels * n_times))
    drawn = draw({name: len(data) for name, data in sides.items()}, limit, seed)
    embeddings, signals, tables = [], [], []
    for name, data in sides.items():
        part = data.select(drawn[name])
        if not len(part):
            continue
        embeddings.append(embed(encoder, part, pooling=pooling, batch_size=batch_size, device=device))
        batches = (part[at : at + batch_size].x[:, :n_channels].numpy() for at in range(0, len(part), batch_size))
        signals.append(np.concatenate([block_means(x, step) for x in batches]))
        wanted = [*part.levels, *([part.target] if part.target else []), "onset", "source"]
        known = [column for column in dict.fromkeys(wanted) if column in part.metadata.columns]
        table = part.metadata[known].assign(split=name)
        if "source" in known:
            table["source"] = table["source"].map(_file_name)
        tables.append(table)
    H = np.concatenate(embeddings)
    finite = np.isfinite(H).all(axis=1)
    if finite.sum() < 2:
        raise DataError("fewer than two windows have a finite embedding: there is no map to draw.")
    plane, share = principal_plane(H[finite].astype(np.float64))
    return EmbeddingPoints(
        plane,
        share,
        pd.concat(tables, ignore_index=True)[finite].reset_index(drop=True),
        first.levels,
        first.target,
        np.concatenate(signals)[finite],
        first.channels,
        step,
        sum(map(len, sides.values())),
    )


def draw(sizes: Mapping[str, int], limit: int, seed: int) -> dict[str, np.ndarray]:
    """Draw at most ``limit`` positions from sides of these sizes, sorted; half of them from ``"test"`` if need be."""
    rng = np.random.default_rng(seed)
    others = sum(size for name, size in sizes.items() if name != "test")
    tested = min(sizes.get("test", 0), max(limit // 2, limit - others))
    share = min(1.0, (limit - tested) / max(others, 1))
    counts = {name: tested if name == "test" else int(size * share) for name, size in sizes.items()}
    return {name: np.sort(rng.permutation(size)[: counts[name]]) for name, size in sizes.items()}


def block_means(x: np.ndarray, step: int) -> np.ndarray:
    """Average every ``step`` samples of x (n, C, T), leaving NaN out: (n, C, ceil(T / step)), float32."""
    if step == 1:
        return x.astype(np.float32)
    pad = -x.shape[2] % step
    blocks = np.pad(x, ((0, 0), (0, 0), (0, pad)), constant_values=np.nan).reshape(*x.shape[:2], -1, step)
    count = np.isfinite(blocks).sum(axis=3)
    total = np.nansum(blocks, axis=3)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def quantise(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Store signals as integers.

    Parameters
    ----------
    x : ndarray, shape (n, C, T)
        Signals; what is not finite counts as missing.

    Returns
    -------
    stored : ndarray, shape (n, C, T), int16
        ``(x - low) / unit - 32767``; -32768 where a value is missing.
    low, unit : ndarray, shape (n, C), float32
        The smallest value, and how much of the signal one integer is.
    """
    known = np.isfinite(x)
    low = np.where(known, x, np.inf).min(axis=2)
    high = np.where(known, x, -np.inf).max(axis=2)
    low, high = np.where(np.isfinite(low), low, 0), np.where(np.isfinite(high), high, 0)
    low = low.astype(np.float32)
    unit = ((high - low) / 65534).astype(np.float32)
    scaled = (np.where(known, x, 0) - low[:, :, None]) / np.where(unit > 0, unit, 1)[:, :, None]
    stored = np.where(known, np.clip(np.rint(scaled), 0, 65534) - 32767, MISSING).astype(np.int16)
    return stored, low, unit


def _text(value: Any) -> str:
    if pd.isna(value):
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _file_name(source: Any) -> Any:
    """Return a file's name without its folders; a source that is no path on this machine stays as it is."""
    return Path(source).name if isinstance(source, str) and Path(source).is_absolute() else source


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
