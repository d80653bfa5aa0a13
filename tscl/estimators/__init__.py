"""The fit / transform face."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=["sktime"],
    submod_attrs={
        "autotcl": ["AutoTCL"],
        "base": ["ContrastiveEstimator"],
        "classifier": ["ContrastiveClassifier"],
        "comet": ["COMET"],
        "regressor": ["ContrastiveRegressor"],
        "simclr": ["SimCLR"],
        "speech": ["SpeechDecoder"],
        "ts2vec": ["TS2Vec"],
    },
)
