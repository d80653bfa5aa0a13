"""The average of the weights, on the device."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class AveragedWeights(AveragedModel):
    """Equal or exponential average of a module's floating-point weights and buffers over steps.

    torch's own asks on the host how many steps there were, and so waits for the GPU in every step.

    Parameters
    ----------
    module : nn.Module
        Is copied; what is not floating-point is the latest.
    decay : float, optional
        Of an exponential average, per step; equal weights without it. The first step's weights are taken as they are.
    """

    def __init__(self, module: nn.Module, decay: float | None = None) -> None:
        super().__init__(module, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take the weights of one more step into the average."""
        share = 1 / (self.n_averaged + 1)
        if self.decay is not None:
            share = torch.where(self.n_averaged == 0, 1.0, 1 - self.decay)
        for mine, latest in zip(_state(self.module), _state(model), strict=True):
            if mine.is_floating_point():
                mine.lerp_(latest, share.to(mine.dtype))
            else:
                mine.copy_(latest)
        self.n_averaged += 1


def _state(module: nn.Module) -> chain[Tensor]:
    return chain(module.parameters(), module.buffers())
