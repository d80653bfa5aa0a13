"""Augmenters without parameters."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "amplitude": ["Jitter", "Scaling"],
        "crops": ["OverlappingCrops"],
        "masks": ["LatentMask"],
    },
)
