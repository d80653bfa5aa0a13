"""Gates between 0 and 1 that can be learned by gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class HardConcrete(nn.Module):
    """Sample gates that are often exactly 0 or 1 (Louizos et al., *L0 regularisation*, ICLR 2018, eq. 10-11).

    Uniform noise u becomes ``s = sigmoid((log u - log(1 - u) + logit) / temperature)``, which is stretched to
    ``[-stretch, 1 + stretch]`` and clipped to [0, 1]. In eval mode nothing is drawn: the gates are the probabilities
    that a drawn one is above 1/2.

    Parameters
    ----------
    temperature : float
        The lower, the closer the gates are to 0 and 1.
    stretch : float
        How far beyond [0, 1] a gate reaches before it is clipped.
    bias : float
        The noise is drawn from [bias, 1 - bias], which keeps its log-odds finite; below 0.5.
    straight_through : bool
        Round the gates to 0 or 1, and let the gradient pass as if they had not been rounded.
    """

    def __init__(
        self, temperature: float = 1.0, stretch: float = 0.05, bias: float = 0.05, straight_through: bool = True
    ) -> None:
        super().__init__()
        if temperature <= 0 or stretch < 0 or not 0 < bias < 0.5:
            raise ValueError(
                f"temperature {temperature}, stretch {stretch} and bias {bias} cannot be: use a positive temperature, "
                "a stretch of at least 0 and a bias between 0 and 0.5."
            )
        self.temperature = temperature
        self.stretch = stretch
        self.bias = bias
        self.straight_through = straight_through

    def forward(self, logits: Tensor) -> Tensor:
        """Return gates in [0, 1], in the shape of ``logits``."""
        if not self.training:
            return ((logits.sigmoid() - self.bias) / (1 - 2 * self.bias)).clamp(0, 1)
        noise = self.bias + (1 - 2 * self.bias) * torch.rand_like(logits)
        soft = ((noise.log() - (1 - noise).log() + logits) / self.temperature).sigmoid()
        gates = (soft * (1 + 2 * self.stretch) - self.stretch).clamp(0, 1)
        if not self.straight_through:
            return gates
        return gates + ((gates > 0.5).to(gates.dtype) - gates).detach()
