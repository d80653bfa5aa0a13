"""The one place that lists the named data sets."""

from __future__ import annotations

from tscl.data.datasets.ad import AD
from tscl.data.datasets.archive import Archive
from tscl.data.datasets.base import Study
from tscl.data.datasets.bids import BIDSFolder
from tscl.data.datasets.brennan2019 import Brennan2019
from tscl.data.datasets.broderick2019 import Broderick2019
from tscl.data.datasets.challenge2021 import Challenge2021
from tscl.data.datasets.eegmat import EEGMat
from tscl.data.datasets.folder import Folder
from tscl.data.datasets.gwilliams2022 import Gwilliams2022
from tscl.data.datasets.ludb import LUDB
from tscl.data.datasets.mitdb import MITBIH
from tscl.data.datasets.ptb import PTB
from tscl.data.datasets.schoffelen2019 import Schoffelen2019
from tscl.data.datasets.simulated_ecg import SimulatedECG
from tscl.data.datasets.simulated_eeg import SimulatedEEG
from tscl.data.datasets.simulated_speech import SimulatedSpeech
from tscl.data.datasets.speech_bids import BIDSSpeech
from tscl.data.datasets.tdbrain import TDBrain

STUDIES: dict[str, type[Study]] = {
    study.name: study
    for study in (
        SimulatedECG,
        SimulatedEEG,
        AD,
        PTB,
        TDBrain,
        LUDB,
        EEGMat,
        MITBIH,
        Challenge2021,
        Archive,
        Folder,
        BIDSFolder,
        SimulatedSpeech,
        Gwilliams2022,
        Schoffelen2019,
        Broderick2019,
        Brennan2019,
        BIDSSpeech,
    )
}
"""Every named data set by its name."""
