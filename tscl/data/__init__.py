"""Recordings become windows with levels: readers, preprocessing, named data sets, splits, samplers, loaders."""

import lazy_loader as _lazy

# eager: the submodule of the same name would shadow a lazy one
from tscl.data.prepare import prepare as prepare
from tscl.data.prepare import prepare_store as prepare_store

_attach, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=["datasets", "preprocessing", "readers", "series", "speech", "store"],
    submod_attrs={
        "leakage": ["check_leakage", "check_seen", "check_stimuli"],
        "loading": ["WindowLoader", "eval_loader"],
        "module": ["CohortDataModule", "SplitConfig", "WindowDataModule"],
        "preprocessing": ["Preprocessing"],
        "recording": ["Annotation", "Channels", "Recording"],
        "sampling": ["HierarchicalBatchSampler"],
        "series": [
            "CALENDAR",
            "SERIES",
            "Parts",
            "Series",
            "SeriesDataModule",
            "SeriesSpec",
            "SeriesTask",
            "calendar_features",
            "find_series",
            "level_differences",
            "load_task",
            "parts_of",
            "read_series",
        ],
        "sources": ["Source"],
        "store": ["StoreWriter", "WindowStore"],
        "splits": ["Split", "holdout", "kfold", "label_fraction"],
        "windows": ["WindowDataset"],
    },
)
__getattr__ = _attach
__all__ += ["prepare", "prepare_store"]
