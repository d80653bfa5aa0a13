"""Estimators as sktime has them: embeddings of panels, of hierarchical frames and of single series; a classifier."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={"classifier": ["EmbeddingClassifier"], "transformers": ["PanelEmbedder", "SeriesEmbedder"]},
)
