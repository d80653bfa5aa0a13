"""From recordings to windows: steps, ways to cut trials, sliding windows, and their composition."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "heartbeats": ["HeartbeatTrials"],
        "matching": ["MatchChannels", "match_windows"],
        "pipeline": ["Preprocessing", "Windows"],
        "steps": [
            "AverageReference",
            "BandPass",
            "Clip",
            "Notch",
            "PickChannels",
            "Resample",
            "Rescale",
            "Scale",
            "Step",
        ],
        "trials": [
            "AnnotatedTrials",
            "CentredTrials",
            "FixedTrials",
            "RecordingSkipped",
            "SlidingWindows",
            "Trial",
            "TrialCutter",
            "WholeRecording",
        ],
    },
)
