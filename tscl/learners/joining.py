"""Batches of a learner joined over the processes that train it."""

from __future__ import annotations

import lightning as L
from torch import Tensor

from tscl.distributed import JoinedBatch, world_size


def joined_batch(learner: L.LightningModule, z: Tensor) -> JoinedBatch | None:
    """Return how the batches of all processes lie behind each other, from the embeddings (B, D, T) of this one.

    None where this is the only process, and where nothing is trained: processes may validate different numbers of
    batches.
    """
    trainer = learner._trainer
    if trainer is None or not trainer.training or world_size() == 1:
        return None
    return JoinedBatch(len(z), z.shape[2], z.device)
