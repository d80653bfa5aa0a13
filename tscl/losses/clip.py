"""Losses that match windows of one modality with stretches of another."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tscl.errors import ConfigError
from tscl.functional import clip_loss, siglip_loss
from tscl.functional.tiles import Ring


class ClipLoss(nn.Module):
    """Which stretch goes with this window? See :func:`tscl.functional.clip_loss`.

    Parameters
    ----------
    temperature : float or None
        Where the temperature starts that divides the cosine similarity and is learned (CLIP); None leaves the norm of
        the windows free and needs none (Defossez et al. 2023).
    symmetric : bool
        Also contrast each stretch with the windows.

    Raises
    ------
    ConfigError
        When the temperature is not positive.
    """

    takes_ring = True

    def __init__(self, temperature: float | None = None, symmetric: bool = False) -> None:
        super().__init__()
        if temperature is not None and temperature <= 0:
            raise ConfigError(f"the temperature is {temperature}: it must be positive, or None.")
        self.symmetric = symmetric
        start = None if temperature is None else torch.tensor(-math.log(temperature))
        self.log_scale = None if start is None else nn.Parameter(start)

    def forward(
        self,
        z: Tensor,
        speech: Tensor,
        ids: Tensor | None = None,
        negatives: Tensor | None = None,
        ring: Ring | None = None,
    ) -> Tensor:
        """Score windows and their stretches, both of shape (B, F, T)."""
        scale = self.log_scale
        return clip_loss(z, speech, negatives=negatives, ids=ids, log_scale=scale, symmetric=self.symmetric, ring=ring)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"symmetric={self.symmetric}, learned temperature={self.log_scale is not None}"


class SigLipLoss(nn.Module):
    """Does this stretch go with this window? See :func:`tscl.functional.siglip_loss`.

    Parameters
    ----------
    temperature : float
        Where the learned temperature starts.
    bias : float
        Where the learned bias starts; strongly negative, since nearly all pairs are negatives.

    Raises
    ------
    ConfigError
        When the temperature is not positive.
    """

    takes_ring = True

    def __init__(self, temperature: float = 0.1, bias: float = -10.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ConfigError(f"the temperature is {temperature}: it must be positive.")
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, z: Tensor, speech: Tensor, ids: Tensor | None = None, ring: Ring | None = None) -> Tensor:
        """Score windows and their stretches, both of shape (B, F, T)."""
        return siglip_loss(z, speech, self.log_scale, self.bias, ids=ids, ring=ring)


class RegressionLoss(nn.Module):
    """Mean squared error of the predicted features: what the contrast is compared with in Defossez et al. 2023."""

    def forward(self, z: Tensor, speech: Tensor, ids: Tensor | None = None) -> Tensor:
        """Score predicted and true features, both of shape (B, F, T).

        Raises
        ------
        ValueError
            When the shapes differ.
        """
        if z.shape != speech.shape:
            raise ValueError(f"predicted features {tuple(z.shape)} and true ones {tuple(speech.shape)} must be alike.")
        return F.mse_loss(z.float(), speech.float())
