"""What a head is."""

from __future__ import annotations

from torch import Tensor, nn


class Head(nn.Module):
    """Compare two views at one level. A subclass writes ``forward``.

    Parameters
    ----------
    level : str
        ``"observation"``, ``"sample"``, or an id level such as ``"trial"`` or ``"patient"``.
    view : str
        Name of the view pair that it compares.
    weight : float
        Multiplies its loss in the learner's sum; 0 switches it off.

    Attributes
    ----------
    per_step : bool
        True where it compares time steps, which a pooled encoder does not have (False unless a subclass says so).
    within : bool
        True where it compares the parts of a window with each other and never two windows, so that its loss is a mean
        over windows (False unless a subclass says so).
    takes_ring : bool
        True where ``forward`` also takes ``ring``, through which a loss sees the windows of other processes without
        gathering them (False unless a subclass says so).
    """

    per_step = False
    within = False
    takes_ring = False

    def __init__(self, level: str, view: str, weight: float) -> None:
        super().__init__()
        if weight < 0:
            raise ValueError(f"the weight of the {level} head is {weight}: use 0 (off) or more.")
        self.level = level
        self.view = view
        self.weight = weight

    @property
    def needs_ids(self) -> bool:
        """Whether a batch must carry ids of ``level``."""
        return False

    def forward(self, z1: Tensor, z2: Tensor, levels: dict[str, Tensor]) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        z1, z2 : Tensor, shape (B, D, T), floating
            Embeddings per time step of the two views.
        levels : dict of str to Tensor, each of shape (B,), int64
            Ids of every level.

        Returns
        -------
        Tensor, scalar
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(z1, z2, levels).")

    def extra_repr(self) -> str:
        """Show level, view and weight."""
        return f"level={self.level!r}, view={self.view!r}, weight={self.weight}"
