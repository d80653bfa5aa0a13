"""Augmenters without parameters."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "amplitude": ["ChannelScaling", "CutOut", "Jitter", "MagnitudeWarp", "Scaling", "SignFlip"],
        "channels": ["ChannelDropout", "ChannelShuffle"],
        "crops": ["OverlappingCrops", "RandomCropResize", "WindowSlice"],
        "frequency": ["BandStop", "FTSurrogate", "FrequencyAddition", "FrequencyMask", "FrequencyShift"],
        "masks": ["LatentMask"],
        "mixing": ["Mixup"],
        "order": ["Permutation", "TimeReversal"],
        "pairs": ["TimeFrequency", "WeakStrong"],
        "warps": ["TimeWarp", "WindowWarp"],
    },
)
