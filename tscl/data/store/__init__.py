"""Windows on disk: one flat file of signals and an index in parquet, that grows, is checked, and is read by many."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__, submod_attrs={"reader": ["WindowStore"], "writer": ["StoreWriter"]}
)
