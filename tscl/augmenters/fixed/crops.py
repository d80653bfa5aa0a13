"""Crops that overlap, contrasted on what they share."""

from __future__ import annotations

import torch
from torch import Tensor

from tscl.augmenters.base import Augmenter
from tscl.types import View


class OverlappingCrops(Augmenter):
    """Two random crops of every window that share a stretch (TS2Vec, section 3.2).

    The lengths are the same for the batch, the position differs from window to window. Only the shared stretch is
    contrasted (``View.span``).

    Parameters
    ----------
    min_overlap : int
        Shortest shared stretch in steps.
    """

    def __init__(self, min_overlap: int = 2) -> None:
        super().__init__()
        self.min_overlap = min_overlap

    def forward(self, view: View) -> View:
        """Return the view itself: a crop is drawn for pairs only."""
        return view

    def pair(self, first: View, second: View) -> tuple[View, View]:
        """Crop the two views; a latent mask must come after the crop, not before."""
        steps = first.x.shape[2]
        overlap = _draw(min(self.min_overlap, steps), steps)
        left = _draw(0, steps - overlap)
        right = left + overlap
        start, stop = _draw(0, left), _draw(right, steps)
        offset = torch.randint(-start, steps - stop + 1, (len(first.x), 1), device=first.x.device)
        return (
            View(_cut(first.x, offset + start, right - start), span=(left - start, right - start)),
            View(_cut(second.x, offset + left, stop - left), span=(0, overlap)),
        )


def _draw(low: int, high: int) -> int:
    """Draw an integer from low to high, both included."""
    return int(torch.randint(low, high + 1, ()))


def _cut(x: Tensor, start: Tensor, length: int) -> Tensor:
    index = start + torch.arange(length, device=x.device)
    return x.gather(2, index[:, None].expand(-1, x.shape[1], -1))
