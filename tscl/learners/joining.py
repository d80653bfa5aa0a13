"""What a learner joins over the processes that train it: batches, and what is logged of them."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor
from torchmetrics import MeanMetric

from tscl.distributed import JoinedBatch, sum_of_all, world_size


def joined_batch(learner: L.LightningModule, z: Tensor) -> JoinedBatch | None:
    """Return how the batches of all processes lie behind each other, from the embeddings (B, D, T) of this one.

    None where this is the only process, and where nothing is trained: processes may validate different numbers of
    batches.
    """
    trainer = learner._trainer
    if trainer is None or not trainer.training or world_size() == 1:
        return None
    return JoinedBatch(len(z), z.shape[2], z.device)


def save_logged(learner: L.LightningModule, checkpoint: dict[str, Any]) -> None:
    """Put what all processes have logged so far in the epoch into a checkpoint, which is written by one of them."""
    if world_size() == 1:
        return
    state = checkpoint["state_dict"]
    for name in _sums(learner, state):
        state[name] = sum_of_all(state[name])


def load_logged(learner: L.LightningModule, checkpoint: dict[str, Any]) -> None:
    """Leave the sums of all processes, which a checkpoint holds, to the first one."""
    state = checkpoint["state_dict"]
    if learner.global_rank > 0:
        for name in _sums(learner, state):
            state[name] = torch.zeros_like(state[name])


def _sums(learner: L.LightningModule, state: dict[str, Tensor]) -> list[str]:
    """Return the names of the sums in a state that the learner's means consist of."""
    means = [name for name, module in learner.named_modules() if isinstance(module, MeanMetric)]
    return [key for name in means for part in ("mean_value", "weight") if (key := f"{name}.{part}") in state]
