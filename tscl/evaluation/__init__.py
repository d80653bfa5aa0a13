"""How good an embedding is, on patients that were never seen: probes, fine-tuning, baselines and the report."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "baselines": ["ClassicalBaseline", "amplitude_features", "band_powers"],
        "bootstrap": ["bootstrap_interval", "bootstrap_metrics"],
        "embedding": ["embed"],
        "finetune": ["FineTuner"],
        "metrics": ["classification_metrics", "group_ids", "vote", "vote_level"],
        "probe": ["KNNProbe", "LinearProbe"],
        "protocol": ["evaluate"],
        "results": ["Results"],
    },
)
