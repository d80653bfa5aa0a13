"""Forecasting by ridge regression on embeddings or lags, as the literature measures it, and its baselines."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "combined": ["MeanForecaster", "average_features", "level_free_blocks", "level_free_ridge"],
        "features": ["PerVariable", "beside", "embedding_features", "lag_features"],
        "models": ["Forecaster", "LastValue", "RidgeForecaster", "SeasonalNaive"],
        "protocol": ["evaluate_forecasts"],
        "results": ["ForecastResults"],
        "ridge": ["ALPHAS", "RidgePath"],
    },
)
