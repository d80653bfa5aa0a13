"""How alike positive and negative pairs are, an epoch a row of the log."""

from __future__ import annotations

from collections.abc import Iterable

import lightning as L
import torch
from torch import Tensor, nn

from tscl.distributed import sum_of_all, world_size
from tscl.functional import score_quantiles

QUANTILES = {"q05": 0.05, "q50": 0.5, "q95": 0.95}
WINDOWS = 64
"""So many windows, the first ones of an epoch, are compared."""


class ScoreLog(nn.Module):
    """Quantiles of the cosine similarity of positive and negative pairs in the first batch of every epoch.

    They are logged as ``score/<name>/positive_q05``, ``..._q50``, ``..._q95`` and ``score/<name>/negative_q05``, ...

    Parameters
    ----------
    names : iterable of str
        What is contrasted: ``"window"``, ``"patient"``, ...

    Attributes
    ----------
    values : Tensor, shape (names, 2, 3), float32
        Quantiles (5, 50, 95 %) of positives and negatives; NaN where there was no pair.
    due : bool
        Whether the epoch's values are to be logged: to be set when an epoch, or training within one, begins.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self.names = list(names)
        # In the checkpoint, so that they survive a resume within the epoch.
        self.register_buffer("values", torch.full((len(self.names), 2, len(QUANTILES)), torch.nan))
        self.due = True

    @torch.no_grad()
    def update(self, name: str, h1: Tensor, h2: Tensor, ids: Tensor | None = None, *, twins: bool = True) -> None:
        """Take the scores of two views.

        Parameters
        ----------
        name : str
        h1, h2 : Tensor, shape (B, D), floating
            One embedding a window.
        ids : Tensor, shape (B,), integer, optional
            Windows of one id are positives and of two ids negatives; a negative id is neither. Without ids two views of
            one window are the positives.
        twins : bool
            Whether two views of one window are among the positives of an id.
        """
        h1, h2 = h1.detach()[:WINDOWS], h2.detach()[:WINDOWS]
        same = torch.eye(len(h1), dtype=torch.bool, device=h1.device)
        positive, negative = same, ~same
        if ids is not None:
            ids = ids[:WINDOWS]
            known = (ids >= 0)[:, None] & (ids >= 0)
            alike = ids[:, None] == ids
            positive, negative = known & alike, known & ~alike
            if not twins:
                positive = positive & ~same
        self.values[self.names.index(name)] = score_quantiles(h1, h2, positive, negative, tuple(QUANTILES.values()))

    def log(self, learner: L.LightningModule) -> None:
        """Log once in an epoch: every value costs time in every step that logs it."""
        if not self.due:
            return
        self.due = False
        if world_size() > 1:  # the mean goes into checkpoints; DDP overwrites buffers with those of the first process
            self.values.copy_(sum_of_all(self.values) / world_size())
        for name, of_name in zip(self.names, self.values, strict=True):
            for side, of_side in zip(("positive", "negative"), of_name, strict=True):
                for q, value in zip(QUANTILES, of_side, strict=True):
                    key = f"score/{name}/{side}_{q}"
                    learner.log(key, value, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)
