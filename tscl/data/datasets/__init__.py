"""Named data sets: each says where its files are, what they mean, and how they become windows."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "ad": ["AD"],
        "archive": ["Archive"],
        "base": ["Study"],
        "bids": ["BIDSFolder"],
        "brennan2019": ["Brennan2019"],
        "broderick2019": ["Broderick2019"],
        "challenge2021": ["Challenge2021"],
        "eegmat": ["EEGMat"],
        "folder": ["Folder"],
        "gwilliams2022": ["Gwilliams2022"],
        "ludb": ["LUDB"],
        "mitdb": ["MITBIH"],
        "ptb": ["PTB"],
        "schoffelen2019": ["Schoffelen2019"],
        "simulated_ecg": ["SimulatedECG"],
        "simulated_eeg": ["SimulatedEEG"],
        "simulated_speech": ["SimulatedSpeech"],
        "speech_bids": ["BIDSSpeech"],
        "studies": ["STUDIES"],
        "tdbrain": ["TDBrain"],
    },
)
