"""Learners: what happens in one training step, and with which optimizer."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "checkpoint": ["AtomicCheckpointIO"],
        "contrastive": ["ContrastiveLearner"],
        "cross_modal": ["CrossModalLearner"],
        "online_probe": ["OnlineProbe"],
    },
)
