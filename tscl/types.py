"""The ground: what passes between data, augmenters, encoders and heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

SENT_BY_VALUE = 2**16
"""Bytes of a tensor, up to which a worker process sends its values instead of shared memory."""


class Sensors(NamedTuple):
    """Who was recorded, and where the sensors sat.

    Attributes
    ----------
    positions : Tensor, shape (B, C, 2), float32
        Sensor positions on the unit square, NaN where unknown.
    subject : Tensor, shape (B,), int64
        Index of the subject, for per-subject layers.
    """

    positions: Tensor
    subject: Tensor


class View(NamedTuple):
    """One version of a batch, on its way into the encoder.

    Attributes
    ----------
    x : Tensor, shape (B, C, T), float32
        The signals; NaN marks missing values.
    mask : Tensor or None, shape (B, T), bool
        Latent mask, True = keep; the encoder applies it after its stem.
    span : tuple of int or None
        First and last (exclusive) time step of ``x`` that both views of a pair have in common; None means all.
    kept : Tensor or None, shape (B, T), float32
        How much of every time step a learned augmenter kept, from 0 to 1; None where none had a part in it.
    """

    x: Tensor
    mask: Tensor | None = None
    span: tuple[int, int] | None = None
    kept: Tensor | None = None


@dataclass
class Batch:
    """What a data loader yields; moves to a device as a whole.

    Attributes
    ----------
    x : Tensor, shape (B, C, T), float32
        Signals, NaN where a value is missing.
    levels : dict of str to Tensor, each of shape (B,), int64
        Dense ids of every level, from coarse to fine.
    y : Tensor or None, shape (B,), int64
        Class of every window, -1 where it is unknown.
    sensors : Sensors or None
        Positions and subject index.
    paired : dict of str to Tensor, each of shape (B, ...)
        Other modalities of the same windows.
    """

    x: Tensor
    levels: dict[str, Tensor] = field(default_factory=dict)
    y: Tensor | None = None
    sensors: Sensors | None = None
    paired: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    def _apply(self, function: Any) -> Batch:
        return Batch(*(_walk(getattr(self, f.name), Tensor, function) for f in fields(self)))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return the batch with every tensor on ``device``."""
        return self._apply(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory, for asynchronous copies to a GPU."""
        return self._apply(lambda tensor: tensor.pin_memory())


def _walk(value: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    """Apply a function to everything of a kind within a field of a batch."""
    if isinstance(value, kind):
        return function(value)
    if isinstance(value, dict):
        return {key: _walk(item, kind, function) for key, item in value.items()}
    if isinstance(value, Sensors):
        return Sensors(*(_walk(item, kind, function) for item in value))
    return value


def _sent(batch: Batch) -> tuple[Callable[..., Batch], tuple[Any, ...]]:
    """Say how a batch goes from a worker to the process that asked for it.

    A tensor in shared memory costs a connection between the two and a file descriptor, whatever its size, so that four
    columns of ids cost more than the signals. Small tensors therefore go through the queue as their values.
    """

    def value(tensor: Tensor) -> Tensor | np.ndarray:
        plain = tensor.device.type == "cpu" and tensor.dtype in (torch.int64, torch.float32)
        small = plain and not tensor.requires_grad and tensor.nbytes <= SENT_BY_VALUE
        return tensor.numpy() if small else tensor

    return _received, tuple(_walk(getattr(batch, f.name), Tensor, value) for f in fields(batch))


def _received(*values: Any) -> Batch:
    """Return the batch that was sent."""
    return Batch(*(_walk(value, np.ndarray, torch.from_numpy) for value in values))


ForkingPickler.register(Batch, _sent)
