"""A loss, a head and an encoder of one's own: all that tscl asks of them."""

import torch
from torch import Tensor, nn

from tscl.encoders import Encoder
from tscl.encoders.base import split_missing
from tscl.functional import pool_time
from tscl.heads import Head


def decorrelation(a: Tensor, b: Tensor, off_diagonal: float = 0.05) -> Tensor:
    """Barlow Twins (Zbontar et al., ICML 2021, eq. 1): correlations of two views (B, D) like the identity; a scalar."""
    a, b = ((z - z.mean(dim=0)) / (z.std(dim=0) + 1e-6) for z in (a, b))
    excess = (a.T @ b / len(a) - torch.eye(a.shape[1], device=a.device)).square()
    return (1 - off_diagonal) * excess.diagonal().mean() + off_diagonal * excess.mean()


class DecorrelationHead(Head):
    """The windows of a batch, pooled over time."""

    def __init__(self, view: str = "masked", weight: float = 1.0) -> None:
        super().__init__("sample", view, weight)

    def forward(self, z1: Tensor, z2: Tensor, levels: dict[str, Tensor]) -> Tensor:
        return decorrelation(pool_time(z1), pool_time(z2))


class GRUEncoder(Encoder):
    """A recurrent network, from (B, C, T) to (B, dim, T)."""

    def __init__(self, in_channels: int, dim: int = 32) -> None:
        super().__init__(dim, dropout=0.1)
        self.stem = nn.Conv1d(in_channels, dim, 1)
        self.recurrent = nn.GRU(dim, dim, batch_first=True)

    def features(self, x: Tensor, mask: Tensor | None = None, sensors: object = None) -> Tensor:
        x, keep = split_missing(x)
        seen = keep[:, None] if mask is None else keep[:, None] & (mask if mask.ndim == 3 else mask[:, None])
        return self.recurrent((self.stem(x) * seen).transpose(1, 2))[0].transpose(1, 2)

    def config(self) -> dict[str, int]:
        return {"in_channels": self.stem.in_channels, "dim": self.dim}
