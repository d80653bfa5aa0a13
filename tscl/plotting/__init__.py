"""Every picture, as functions of arrays that draw into a matplotlib ``Axes`` and return it."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "anomalies": ["alarms_over_time"],
        "attribution": ["attribution_over_signal", "attribution_topomap"],
        "curves": ["training_curves"],
        "embeddings": ["embedding_map", "similarity_matrix"],
        "forecasts": ["forecast_plot"],
        "gallery": ["view_gallery"],
        "levels": ["hierarchy"],
        "masks": ["mask_over_signal"],
        "results": ["results_bars"],
        "retrieval": ["accuracy_by_subject", "attention_map", "rank_histogram", "retrieval_examples"],
        "scores": ["score_distributions"],
        "style": ["save_figure"],
    },
)
