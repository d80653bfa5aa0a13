"""Augmenters: how a view is made."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "base": ["Augmenter", "Compose", "Identity", "OneOf", "RandomApply", "TwoSided"],
        "fixed": [
            "BandStop",
            "ChannelDropout",
            "ChannelScaling",
            "ChannelShuffle",
            "CutOut",
            "FTSurrogate",
            "FrequencyAddition",
            "FrequencyMask",
            "FrequencyShift",
            "Jitter",
            "LatentMask",
            "MagnitudeWarp",
            "Mixup",
            "OverlappingCrops",
            "Permutation",
            "RandomCropResize",
            "Scaling",
            "SignFlip",
            "TimeFrequency",
            "TimeReversal",
            "TimeWarp",
            "WeakStrong",
            "WindowSlice",
            "WindowWarp",
        ],
        "parametric": ["HardConcrete", "ParametricAugmenter"],
    },
)
