"""Encoders as graphs that run without tscl: ONNX, and programs of torch.export."""

from __future__ import annotations

import copy
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tscl.errors import ConfigError
from tscl.files import atomic_file
from tscl.functional import pool_time
from tscl.functional.pooling import parse_pooling
from tscl.types import Sensors

INSTALL = "pip install 'tscl[onnx]'"


class _Graph(nn.Module):
    """What is exported: signals, and sensors where the encoder takes them, to embeddings."""

    def __init__(self, encoder: nn.Module, pooling: str | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling

    def forward(self, x: Tensor, positions: Tensor | None = None, subject: Tensor | None = None) -> Tensor:
        if positions is None or subject is None:
            z = self.encoder(x)
        else:
            z = self.encoder(x, sensors=Sensors(positions, subject))
        return z if self.pooling is None else pool_time(z, self.pooling, ~x.isnan().all(dim=1))


def export_onnx(
    encoder: nn.Module, path: str | Path, n_channels: int, n_times: int = 256, *, pooling: str | None = "max"
) -> Path:
    """Write an encoder as one ONNX file: eval mode, no gradients, any number of windows.

    Inputs are ``x`` (batch, channels, time), float32, in which NaN marks missing values as everywhere in tscl, and, for
    an encoder that takes sensors, ``positions`` (batch, channels, 2), float32, NaN where unknown, and ``subject``
    (batch,), int64, -1 for an unseen one. The output is ``embeddings``.

    Parameters
    ----------
    encoder : nn.Module
        An :class:`Encoder`, or any module with the same ``forward``; it stays as it is.
    path : path
        File to write, ``.onnx``.
    n_channels : int
        Channels of the windows, fixed in the graph.
    n_times : int
        Time steps of the windows with which the graph is traced. The graph takes windows of any length, unless
        ``pooling`` asks for segments of time, which fix it to this one.
    pooling : str or None
        What is computed over time, see :func:`tscl.functional.pool_time`; steps at which every channel is NaN are not
        pooled over. None writes the embedding of every step, (batch, dim, time), instead of (batch, k * dim).

    Returns
    -------
    Path

    Raises
    ------
    ConfigError
        When onnx or onnxscript is missing, ``path`` does not end in ``.onnx``, the encoder does not take such windows,
        or it does something that no graph can hold.
    DataError
        When the file cannot be written.

    Examples
    --------
    >>> import onnxruntime
    >>> from tscl.encoders import Encoder, export_onnx
    >>> encoder = Encoder.from_pretrained("runs/eegmat")  # doctest: +SKIP
    >>> path = export_onnx(encoder, "encoder.onnx", n_channels=19)  # doctest: +SKIP
    >>> onnxruntime.InferenceSession(path).run(None, {"x": windows})  # doctest: +SKIP
    """
    path = _checked(path, ".onnx")
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"an ONNX file is written by {missing[0]}, which is not installed: {INSTALL}.")
    graph, inputs, shapes = _traceable(encoder, n_channels, n_times, pooling)
    with torch.no_grad():
        program = _attempt(
            encoder,
            torch.onnx.export,
            graph,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=["embeddings"],
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )
    _write(path, program.save)
    return path


def export_program(
    encoder: nn.Module, path: str | Path, n_channels: int, n_times: int = 256, *, pooling: str | None = "max"
) -> Path:
    """Write an encoder as a program of ``torch.export``, which torch opens without tscl (``torch.export.load``).

    Inputs, in this order, and output are those of :func:`export_onnx`.

    Parameters
    ----------
    encoder : nn.Module
        An :class:`Encoder`, or any module with the same ``forward``; it stays as it is.
    path : path
        File to write, ``.pt2``.
    n_channels, n_times : int
        See :func:`export_onnx`.
    pooling : str or None
        See :func:`export_onnx`.

    Returns
    -------
    Path

    Raises
    ------
    ConfigError
        When ``path`` does not end in ``.pt2``, the encoder does not take such windows, or it does something that no
        graph can hold.
    DataError
        When the file cannot be written.
    """
    path = _checked(path, ".pt2")
    graph, inputs, shapes = _traceable(encoder, n_channels, n_times, pooling)
    with torch.no_grad():
        program = _attempt(
            encoder, torch.export.export, graph, tuple(inputs.values()), dynamic_shapes=shapes, strict=False
        )
    _write(path, lambda file: torch.export.save(program, file))
    return path


def _checked(path: str | Path, suffix: str) -> Path:
    path = Path(path)
    if path.suffix != suffix:
        raise ConfigError(f"{path} ends in {path.suffix or 'nothing'}: write to {suffix}.")
    return path


def _traceable(
    encoder: nn.Module, n_channels: int, n_times: int, pooling: str | None
) -> tuple[nn.Module, dict[str, Tensor], tuple[Any, ...]]:
    """Return a frozen copy on the CPU, inputs to trace it with, and which of their axes stay free.

    The copy has run on the inputs once, so that what the encoder or the pooling says against them is said plainly.
    """
    free = pooling is None or all(segments == 1 for _, segments in parse_pooling(pooling))
    graph = _Graph(copy.deepcopy(encoder).cpu(), pooling).eval().requires_grad_(False)
    batch, time = torch.export.Dim("batch"), torch.export.Dim("time")
    inputs = {"x": torch.zeros(2, n_channels, n_times)}
    shapes: tuple[Any, ...] = ({0: batch, 2: time} if free else {0: batch},)
    if getattr(encoder, "takes_sensors", False):
        inputs |= {"positions": torch.full((2, n_channels, 2), 0.5), "subject": torch.zeros(2, dtype=torch.int64)}
        shapes += ({0: batch}, {0: batch})
    try:
        with torch.no_grad():
            graph(*inputs.values())
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"the {type(encoder).__name__} cannot embed windows of {n_channels} channels and {n_times} times: {error}"
        ) from error
    return graph, inputs, shapes


def _attempt(encoder: nn.Module, export: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return export(*args, **kwargs)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"torch cannot export the {type(encoder).__name__} ({reason}): its forward must be the same for all inputs."
        ) from error


def _write(path: Path, save: Any) -> None:
    with atomic_file(path) as temporary:
        named = temporary.with_suffix(path.suffix)
        try:
            save(str(named))
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)
