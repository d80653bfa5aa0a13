"""Named data sets: each says where its files are, what they mean, and how they become windows."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "ad": ["AD"],
        "archive": ["Archive"],
        "base": ["Study"],
        "bids": ["BIDSFolder"],
        "challenge2021": ["Challenge2021"],
        "eegmat": ["EEGMat"],
        "folder": ["Folder"],
        "ludb": ["LUDB"],
        "mitdb": ["MITBIH"],
        "ptb": ["PTB"],
        "simulated_ecg": ["SimulatedECG"],
        "simulated_eeg": ["SimulatedEEG"],
        "studies": ["STUDIES"],
        "tdbrain": ["TDBrain"],
    },
)
