"""Augmenters: how a view is made."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "base": ["Augmenter", "Compose", "Identity"],
        "fixed": ["Jitter", "LatentMask", "OverlappingCrops", "Scaling"],
    },
)
