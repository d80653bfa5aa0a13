"""The head of every level that has ids."""

from __future__ import annotations

from torch import Tensor

from tscl.functional.tiles import Ring
from tscl.heads.base import Head
from tscl.losses import GroupLoss


class GroupHead(Head):
    """Windows that share an id are positives (COMET, trial and patient level; any other id level the same way).

    Parameters
    ----------
    level : str
        Name of the id level: ``"trial"``, ``"patient"``, ``"session"``, ``"site"``, ...
    view : str
        Name of the view pair.
    weight : float
        Multiplies the loss.
    temperature : float
        Divides the cosine similarity.
    """

    takes_ring = True

    def __init__(self, level: str, view: str = "clean", weight: float = 0.25, temperature: float = 0.1) -> None:
        super().__init__(level, view, weight)
        self.loss = GroupLoss(temperature)

    @property
    def needs_ids(self) -> bool:
        """True."""
        return True

    def forward(self, z1: Tensor, z2: Tensor, levels: dict[str, Tensor], ring: Ring | None = None) -> Tensor:
        """Return the loss; see :meth:`Head.forward`."""
        return self.loss(z1, z2, levels[self.level], ring)
