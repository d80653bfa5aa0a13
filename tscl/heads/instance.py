"""Heads that need no ids: a window, or a time step, and its twin in the other view."""

from __future__ import annotations

from torch import Tensor

from tscl.functional.tiles import Ring
from tscl.heads.base import Head
from tscl.losses import HierarchicalLoss, ObservationLoss, SampleLoss


class ObservationHead(Head):
    """Time steps of a window against each other (COMET, observation level).

    Parameters
    ----------
    view : str
        Name of the view pair.
    weight : float
        Multiplies the loss.
    multiscale : bool
        Average over time scales.
    """

    per_step = True
    within = True

    def __init__(self, view: str = "masked", weight: float = 0.25, multiscale: bool = True) -> None:
        super().__init__("observation", view, weight)
        self.loss = ObservationLoss(multiscale)

    def forward(self, z1: Tensor, z2: Tensor, levels: dict[str, Tensor]) -> Tensor:
        """Return the loss; see :meth:`Head.forward`."""
        return self.loss(z1, z2)


class SampleHead(Head):
    """Windows of the batch against each other (COMET, sample level).

    Parameters
    ----------
    view : str
        Name of the view pair.
    weight : float
        Multiplies the loss.
    multiscale : bool
        Average over time scales.
    """

    takes_ring = True

    def __init__(self, view: str = "masked", weight: float = 0.25, multiscale: bool = True) -> None:
        super().__init__("sample", view, weight)
        self.loss = SampleLoss(multiscale)

    def forward(self, z1: Tensor, z2: Tensor, levels: dict[str, Tensor], ring: Ring | None = None) -> Tensor:
        """Return the loss; see :meth:`Head.forward`."""
        return self.loss(z1, z2, ring)


class HierarchicalHead(Head):
    """Windows and time steps at once (TS2Vec).

    Parameters
    ----------
    view : str
        Name of the view pair.
    weight : float
        Multiplies the loss.
    alpha : float
        Weight of the contrast between windows, against ``1 - alpha`` between time steps.
    temporal_unit : int
        Number of the finest scales without the contrast between time steps.
    """

    per_step = True
    takes_ring = True

    def __init__(self, view: str = "crops", weight: float = 1.0, alpha: float = 0.5, temporal_unit: int = 0) -> None:
        super().__init__("sample+observation", view, weight)
        self.loss = HierarchicalLoss(alpha, temporal_unit)

    def forward(self, z1: Tensor, z2: Tensor, levels: dict[str, Tensor], ring: Ring | None = None) -> Tensor:
        """Return the loss; see :meth:`Head.forward`."""
        return self.loss(z1, z2, ring)
