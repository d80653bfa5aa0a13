"""Augmenters that learn."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={"augmenter": ["ParametricAugmenter"], "gates": ["HardConcrete"]},
)
