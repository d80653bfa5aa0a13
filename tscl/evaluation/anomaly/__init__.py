"""Anomalies in a long series: scores, alarms, and how good the alarms are when a short delay is allowed."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "baselines": ["difference_scores", "ridge_residual_scores", "spectral_residual_scores"],
        "results": ["AnomalyResults", "evaluate_anomalies"],
        "streaming": ["adjusted_scores", "anomaly_scores", "detect"],
        "tolerance": ["delay_tolerant_metrics", "delay_tolerant_scores"],
    },
)
