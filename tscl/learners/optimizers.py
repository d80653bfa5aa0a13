"""The optimizer of the learners."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


def adamw(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW whose step is one fused operation, on CPU and GPU."""
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=True)
    # Lightning clips no gradients where the optimizer takes the loss scale off itself; so it is taken off before.
    optimizer._step_supports_amp_scaling = False
    return optimizer
