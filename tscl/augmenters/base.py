"""What an augmenter is, and how several become one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from tscl.types import View


class Augmenter(nn.Module):
    """Make one version of a batch from another. A subclass writes ``forward``.

    Randomness comes from torch's generator of the tensor's device, which the learner seeds at every step.
    """

    def forward(self, view: View) -> View:
        """Return a new view; the given one is not changed."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(view).")

    def pair(self, first: View, second: View) -> tuple[View, View]:
        """Return the two views that are contrasted: each augmented on its own unless coupled."""
        return self(first), self(second)


class Identity(Augmenter):
    """Leave the batch as it is: the two views differ by the encoder's dropout only (COMET's clean pair)."""

    def forward(self, view: View) -> View:
        """Return the view itself."""
        return view


class Compose(Augmenter):
    """One augmenter after the other.

    Parameters
    ----------
    augmenters : sequence of Augmenter
        Applied in this order.
    """

    def __init__(self, augmenters: Sequence[Augmenter]) -> None:
        super().__init__()
        self.augmenters = nn.ModuleList(augmenters)

    def forward(self, view: View) -> View:
        """Apply all of them."""
        for augmenter in self.augmenters:
            view = augmenter(view)
        return view

    def pair(self, first: View, second: View) -> tuple[View, View]:
        """Apply all of them to a pair."""
        for augmenter in self.augmenters:
            first, second = augmenter.pair(first, second)
        return first, second
