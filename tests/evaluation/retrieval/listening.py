"""Windows of people who listen: a stand-in for SpeechWindows whose brain signals are a known function of the speech."""

import numpy as np
import pandas as pd
import torch

from tscl.data import Channels, WindowDataset
from tscl.types import Sensors

SFREQ = 40.0


class Listening(WindowDataset):
    speech = None
    subjects = ()

    def __getitem__(self, index):
        index = np.atleast_1d(np.arange(len(self))[index])
        batch = super().__getitem__(index)
        table = self.metadata.iloc[index]
        subject = torch.tensor([self.subjects.index(one) if one in self.subjects else -1 for one in table["patient"]])
        batch.sensors = Sensors(torch.full((len(index), batch.x.shape[1], 2), 0.5), subject)
        batch.paired["speech"] = torch.from_numpy(self.speech[self.metadata["segment"].to_numpy()[index]])
        return batch

    def select(self, which):
        chosen = super().select(which)
        return listening(chosen.signals[chosen.rows], chosen.metadata, self.speech, self.subjects)


def listening(x, table, speech, subjects):
    n_channels = x.shape[1]
    channels = Channels(tuple(f"s{i}" for i in range(n_channels)), ("eeg",) * n_channels, "a.u.", SFREQ)
    data = Listening(x.astype("float32"), table, channels, levels=("patient", "recording"))
    data.speech, data.subjects = speech, tuple(subjects)
    return data


def heard(segments, subjects=("a", "b"), words=None, seed=0, noise=0.1, n_channels=6, n_features=3, n_times=80):
    """Everyone hears every segment; a sensor carries the speech of 0.1 s before, in the subject's own mixture."""
    rng = np.random.default_rng(1)
    speech = rng.normal(size=(200, n_features, n_times)).astype("float32")
    x, rows = [], []
    for number, subject in enumerate(subjects):
        mixture = np.random.default_rng(10 + number).normal(size=(n_channels, n_features))
        offset = np.random.default_rng(20 + number).normal(size=(n_channels, 1)) * 5
        draw = np.random.default_rng([seed, number])
        for place, segment in enumerate(segments):
            late = np.zeros((n_features, n_times))
            late[:, 4:] = speech[segment][:, :-4]
            x.append(mixture @ late + noise * draw.normal(size=(n_channels, n_times)) + offset)
            word = None if words is None else words[place]
            sound = f"sound{segment // 50}.wav"
            rows.append((subject, f"{subject}1", word, "1", sound, float(segment % 50), 3.0 * place, "file", segment))
    names = ["patient", "recording", "word", "sequence", "sound", "sound_onset", "onset", "source", "segment"]
    return listening(np.array(x), pd.DataFrame(rows, columns=names), speech, subjects)
