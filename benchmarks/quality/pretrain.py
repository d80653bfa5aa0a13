"""What the benchmarks of this folder share: a learner trained in silence."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch import nn

from tscl.learners import ContrastiveLearner


def pretrain(learner: ContrastiveLearner, module: L.LightningDataModule, **settings: Any) -> nn.Module:
    """Train on one device without files or progress bars, and return the encoder that embeds, in eval mode."""
    trainer = L.Trainer(
        accelerator="auto",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **settings,
    )
    trainer.fit(learner, datamodule=module)
    return learner.embedder.eval()
