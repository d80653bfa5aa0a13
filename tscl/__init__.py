"""Contrastive representation learning for time series and biosignals."""

import lazy_loader as _lazy

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=[
        "augmenters",
        "data",
        "encoders",
        "estimators",
        "evaluation",
        "functional",
        "heads",
        "learners",
        "losses",
        "plotting",
    ],
    submod_attrs={
        "estimators": [
            "COMET",
            "AutoTCL",
            "ContrastiveClassifier",
            "ContrastiveRegressor",
            "SimCLR",
            "SpeechDecoder",
            "TS2Vec",
        ],
        "types": ["Batch", "Sensors", "View"],
    },
)
