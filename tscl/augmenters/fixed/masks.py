"""Latent masks: time steps that the encoder does not get to see behind its stem."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tscl.augmenters.base import Augmenter
from tscl.types import View

MaskKind = Literal["binomial", "continuous", "channel_binomial", "channel_continuous", "last"]


class LatentMask(Augmenter):
    """Hide time steps of the encoder's latent series (TS2Vec; COMET uses the continuous kind).

    Drawn on the batch's device, for every window anew.

    Parameters
    ----------
    kind : {"binomial", "continuous", "channel_binomial", "channel_continuous", "last"}
        Single steps, stretches, either of them per latent channel, or the last step only. A channel-wise stretch hides
        half of the channels.
    p : float
        Probability to keep a step, for the binomial kinds.
    n_gaps : int
        Number of stretches a window, for the continuous kinds; they may overlap.
    length : float
        Length of a stretch as a share of the window.
    channels : int, optional
        Width of the encoder's stem (``hidden``), for the channel-wise kinds; their mask is (B, channels, T).
    """

    def __init__(
        self,
        kind: MaskKind = "continuous",
        p: float = 0.5,
        n_gaps: int = 5,
        length: float = 0.1,
        channels: int | None = None,
    ) -> None:
        super().__init__()
        if kind not in ("binomial", "continuous", "channel_binomial", "channel_continuous", "last"):
            raise ValueError(
                f"unknown mask {kind!r}: use binomial, continuous, channel_binomial, channel_continuous or last."
            )
        if kind.startswith("channel") and channels is None:
            raise ValueError(f"a {kind} mask needs channels, the width of the encoder's stem (hidden).")
        self.kind = kind
        self.p = p
        self.n_gaps = n_gaps
        self.length = length
        self.channels = channels

    def forward(self, view: View) -> View:
        """Return the view with a new mask, joined with the one it has."""
        mask = self.draw(view.x)
        if view.mask is not None:
            mask = mask & (view.mask if view.mask.ndim == mask.ndim else view.mask[:, None])
        return view._replace(mask=mask)

    def draw(self, x: Tensor) -> Tensor:
        """Draw a mask for signals of shape (B, C, T): bool, shape (B, T), or (B, channels, T) channel-wise."""
        n, steps, device = len(x), x.shape[2], x.device
        if self.kind == "last":
            return (torch.arange(steps, device=device) < steps - 1).expand(n, steps)
        if self.kind == "binomial":
            return torch.rand(n, steps, device=device) < self.p
        if self.kind == "channel_binomial":
            return torch.rand(n, int(self.channels or 0), steps, device=device) < self.p
        gaps = max(min(self.n_gaps, steps // 2), 1)
        length = max(int(self.length * steps), 1)
        start = torch.randint(steps - length + 1, (n, gaps, 1), device=device)
        time = torch.arange(steps, device=device)
        hidden = (time >= start) & (time < start + length)
        if self.kind == "continuous":
            return ~hidden.any(dim=1)
        rank = torch.rand(n, gaps, int(self.channels or 0), device=device).argsort(dim=2)
        chosen = rank < int(self.channels or 0) // 2
        return torch.einsum("bgc,bgt->bct", chosen.float(), hidden.float()) == 0
