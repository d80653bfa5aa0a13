"""What encoders around other libraries' backbones share: missing values, masks, lengths and the width of the output."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tscl.encoders.base import Encoder, split_missing
from tscl.encoders.blocks import visible_steps
from tscl.errors import ConfigError, DataError
from tscl.types import Sensors

PROBE_STEPS = 128
"""Length of the window that measures a backbone's output where any length goes."""


class ForeignEncoder(Encoder):
    """An encoder around a backbone of another library.

    Missing steps become zeros, and so do the steps that a latent mask hides: a foreign backbone has no stem of ours, so
    the mask is applied to its input.

    Parameters
    ----------
    backbone : nn.Module
        Takes (B, C, T), float32, and returns (B, width, T') or (B, width).
    in_channels : int
        Number C of channels.
    dim : int or None
        Number D of embedding dimensions, reached by a learned projection of every step; None takes the backbone's
        width.
    n_times : int or None
        The one length T that the backbone takes: shorter windows are padded with zeros, and the output cut to their
        share. None where it takes any.
    output_dropout : float
        Probability of the dropout on the output.
    config : mapping
        Constructor arguments of the subclass.

    Attributes
    ----------
    pooled : bool
        True where the backbone gives one embedding a window, (B, D, 1).

    Raises
    ------
    ConfigError
        When the arguments cannot be written as JSON, or the backbone cannot take such a window.
    """

    def __init__(
        self,
        backbone: nn.Module,
        in_channels: int,
        dim: int | None,
        n_times: int | None,
        output_dropout: float,
        config: Mapping[str, Any],
    ) -> None:
        try:
            json.dumps(config)
        except TypeError as error:
            raise ConfigError(f"the encoder could not be saved, {error}: pass numbers, strings and lists.") from error
        steps = n_times or PROBE_STEPS
        try:
            width, pooled = _measure(backbone, in_channels, steps)
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"the backbone cannot take {in_channels} channels x {steps} steps: {error}") from error
        super().__init__(dim or width, output_dropout)
        self.pooled = pooled
        self.in_channels = in_channels
        self.n_times = n_times
        self.backbone = backbone
        self.projection = nn.Identity() if self.dim == width else nn.Conv1d(width, self.dim, 1)
        self._config = dict(config)

    def config(self) -> dict[str, Any]:
        """Return the constructor arguments."""
        return dict(self._config)

    def features(self, x: Tensor, mask: Tensor | None = None, sensors: Sensors | None = None) -> Tensor:
        """Embed windows; see :meth:`Encoder.forward`.

        Parameters
        ----------
        x : Tensor, shape (B, C, T), float32
        mask : Tensor or None, shape (B, T) or (B, C, T), bool
            True = keep; applied to the input.
        sensors : Sensors or None
            Not used.

        Returns
        -------
        Tensor, shape (B, D, T'), or (B, D, 1) where the encoder is pooled

        Raises
        ------
        DataError
            When the number of channels is another one, or a window is longer than the backbone takes.
        ConfigError
            When the mask is per latent channel.
        """
        if x.ndim != 3 or x.shape[1] != self.in_channels:
            raise DataError(
                f"the encoder was built for {self.in_channels} channels and takes (B, C, T), got {tuple(x.shape)}."
            )
        if mask is not None and mask.ndim == 3 and mask.shape[1] not in (1, self.in_channels):
            raise ConfigError(
                f"a mask of {mask.shape[1]} latent channels does not fit a backbone of another library, which is "
                f"masked at its {self.in_channels} input channels: use a mask without channels."
            )
        steps = x.shape[2]
        if self.n_times is not None and steps > self.n_times:
            raise DataError(
                f"the windows have {steps} time steps, the encoder was built for {self.n_times}: build it with "
                f"n_times={steps}, or cut shorter windows."
            )
        x, keep = split_missing(x)
        x = x * visible_steps(keep, mask)
        if self.n_times is not None:
            x = F.pad(x, (0, self.n_times - steps))
        z = _with_time(self.backbone(x))
        if not self.pooled:
            z = z[:, :, : max(round(z.shape[2] * steps / x.shape[2]), 1)]
        return self.projection(z)


def _with_time(z: Tensor) -> Tensor:
    return z if z.ndim == 3 else z[:, :, None]


def _measure(backbone: nn.Module, in_channels: int, steps: int) -> tuple[int, bool]:
    """Freeze the parameters that the output does not depend on; return its width and whether it has no axis of time."""
    parameters = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    with torch.enable_grad():
        z = backbone.eval()(torch.zeros(2, in_channels, steps))
        gradients = torch.autograd.grad(z.sum(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)
    backbone.train()
    return z.shape[1], z.ndim == 2


def build(what: str, settings: Mapping[str, Any], make: Callable[[], nn.Module]) -> nn.Module:
    """Build another library's module, and say in one sentence which settings it refuses.

    Parameters
    ----------
    what : str
        Name of the module.
    settings : mapping
        What the user set.
    make : callable
        Builds it.

    Returns
    -------
    nn.Module

    Raises
    ------
    ConfigError
        When it cannot be built.
    """
    try:
        return make()
    except (TypeError, ValueError, AssertionError, RuntimeError, ZeroDivisionError) as error:
        said = ", ".join(f"{name}={value!r}" for name, value in settings.items()) or "its defaults"
        raise ConfigError(f"{what} cannot be built with {said}: {error}") from error
