"""Heads: which pairs are positive, at which level of the hierarchy."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "base": ["Head"],
        "group": ["GroupHead"],
        "infonce": ["GlobalHead", "LocalHead"],
        "instance": ["HierarchicalHead", "ObservationHead", "SampleHead"],
        "projection": ["ProjectionHead"],
    },
)
