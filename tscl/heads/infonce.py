"""The heads of AutoTCL: whole windows against each other, and the stretches of a window against each other."""

from __future__ import annotations

from torch import Tensor

from tscl.functional import pool_time
from tscl.functional.tiles import Ring
from tscl.heads.base import Head
from tscl.losses import GlobalInfoNCE, LocalInfoNCE


class GlobalHead(Head):
    """A window and its other view, against the batch (AutoTCL, global contrast; max-pooled over time).

    Parameters
    ----------
    view : str
        Name of the view pair.
    weight : float
        Multiplies the loss.
    temperature : float
        Divides the cosine similarity.
    """

    takes_ring = True

    def __init__(self, view: str = "learned", weight: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__("global", view, weight)
        self.loss = GlobalInfoNCE(temperature)

    def forward(self, z1: Tensor, z2: Tensor, levels: dict[str, Tensor], ring: Ring | None = None) -> Tensor:
        """Return the loss; see :meth:`Head.forward`."""
        return self.loss(pool_time(z1), pool_time(z2), ring)


class LocalHead(Head):
    """Neighbouring stretches of a window against its other stretches, in both views (AutoTCL, local contrast).

    Parameters
    ----------
    view : str
        Name of the view pair.
    weight : float
        Multiplies the loss (alpha in the paper).
    segments : int
        Number of stretches.
    temperature : float
        Divides the cosine similarity.
    """

    per_step = True
    within = True

    def __init__(
        self, view: str = "learned", weight: float = 0.3, segments: int = 16, temperature: float = 1.0
    ) -> None:
        super().__init__("local", view, weight)
        self.loss = LocalInfoNCE(segments, temperature)

    def forward(self, z1: Tensor, z2: Tensor, levels: dict[str, Tensor]) -> Tensor:
        """Return the loss; see :meth:`Head.forward`."""
        return (self.loss(z1) + self.loss(z2)) / 2
