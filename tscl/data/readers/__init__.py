"""Readers: files and arrays of other libraries become recordings or window data sets."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "archives": ["read_labelled_series"],
        "arrays": ["from_numpy", "pad_stack", "read_comet_layout", "read_npz"],
        "dispatch": ["read"],
        "mne_info": ["channels_of", "info_of"],
        "mne_objects": ["from_mne"],
        "mne_reader": ["from_raw", "read_mne"],
        "sktime_frames": ["from_sktime"],
        "wfdb_reader": ["read_wfdb"],
    },
)
