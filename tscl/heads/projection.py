"""The head of SimCLR."""

from __future__ import annotations

from torch import Tensor, nn

from tscl.functional import pool_time
from tscl.functional.tiles import Ring
from tscl.heads.base import Head
from tscl.losses import NTXentLoss


class ProjectionHead(Head):
    """Pooled windows through a two-layer projection, each against the batch (Chen et al., SimCLR, ICML 2020).

    Parameters
    ----------
    dim : int
        Number D of embedding dimensions of the encoder.
    projection : int
        Number of dimensions of the projection.
    view : str
        Name of the view pair.
    weight : float
        Multiplies the loss.
    temperature : float
        Divides the cosine similarity.
    """

    takes_ring = True

    def __init__(
        self, dim: int, projection: int = 128, view: str = "augmented", weight: float = 1.0, temperature: float = 0.5
    ) -> None:
        super().__init__("sample", view, weight)
        self.project = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, projection))
        self.loss = NTXentLoss(temperature)

    def forward(self, z1: Tensor, z2: Tensor, levels: dict[str, Tensor], ring: Ring | None = None) -> Tensor:
        """Return the loss; see :meth:`Head.forward`."""
        return self.loss(self.project(pool_time(z1)), self.project(pool_time(z2)), ring)
