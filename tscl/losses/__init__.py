"""Losses: how a set of pairs is scored. Thin modules over :mod:`tscl.functional`."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "clip": ["ClipLoss", "RegressionLoss", "SigLipLoss"],
        "group": ["GroupLoss"],
        "infonce": ["GlobalInfoNCE", "LocalInfoNCE"],
        "instance": ["HierarchicalLoss", "ObservationLoss", "SampleLoss"],
        "nt_xent": ["NTXentLoss"],
    },
)
