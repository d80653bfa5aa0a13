"""How good an embedding is, on patients that were never seen: probes, fine-tuning, baselines and the report."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "anomaly": [
            "AnomalyResults",
            "adjusted_scores",
            "anomaly_scores",
            "delay_tolerant_metrics",
            "delay_tolerant_scores",
            "detect",
            "difference_scores",
            "evaluate_anomalies",
            "ridge_residual_scores",
            "spectral_residual_scores",
        ],
        "baselines": ["ClassicalBaseline", "amplitude_features", "band_powers"],
        "bootstrap": ["bootstrap_interval", "bootstrap_metrics"],
        "embedding": ["embed"],
        "finetune": ["FineTuner"],
        "forecasting": [
            "ForecastResults",
            "Forecaster",
            "LastValue",
            "MeanForecaster",
            "PerVariable",
            "RidgeForecaster",
            "RidgePath",
            "SeasonalNaive",
            "average_features",
            "beside",
            "embedding_features",
            "evaluate_forecasts",
            "lag_features",
            "level_free_blocks",
            "level_free_ridge",
        ],
        "metrics": ["classification_metrics", "group_ids", "vote", "vote_level"],
        "probe": ["KNNProbe", "LinearProbe", "SVMProbe"],
        "protocol": ["evaluate"],
        "results": ["Results"],
        "series_embedding": ["embed_series"],
    },
)
