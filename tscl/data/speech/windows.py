"""Windows of brain signals with the speech that was heard in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from tscl.data.recording import Channels
from tscl.data.speech.corpus import SpeechCorpus
from tscl.data.windows import WindowDataset
from tscl.errors import DataError
from tscl.types import Batch, Sensors


class Cuts:
    """Windows that are cut out of continuous recordings when they are asked for; to numpy code an array (n, C, T).

    Parameters
    ----------
    corpus : SpeechCorpus
    recording, start : ndarray, shape (n,), int64
        Recording of each window, and its first time step.
    n_times : int
        Steps of a window.
    baseline : int
        The mean of the first so many steps is subtracted from each channel.
    clip : float
        Largest absolute value after that.
    """

    dtype = np.dtype(np.float32)
    ndim = 3

    def __init__(
        self, corpus: SpeechCorpus, recording: np.ndarray, start: np.ndarray, n_times: int, baseline: int, clip: float
    ) -> None:
        self.corpus = corpus
        self.recording, self.start = recording, start
        self.n_times, self.baseline, self.clip = n_times, baseline, clip
        self.shape = (len(start), max(len(one.channels) for one in corpus.recordings), n_times)

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the windows of an integer array (k,), shape (k, C, T); sensors that a recording lacks are NaN."""
        rows = np.asarray(rows)
        cut = np.full((len(rows), *self.shape[1:]), np.nan, dtype=np.float32)
        for window, row in zip(cut, rows, strict=True):
            data = self.corpus.recordings[self.recording[row]].data
            window[: len(data)] = data[:, self.start[row] : self.start[row] + self.n_times]
        if self.baseline:
            before = cut[:, :, : self.baseline]
            known = ~np.isnan(before)
            total = np.where(known, before, 0).sum(axis=2, keepdims=True, dtype=np.float64)
            cut -= (total / np.maximum(known.sum(axis=2, keepdims=True), 1)).astype(np.float32)
        return np.clip(cut, -self.clip, self.clip, out=cut)


class SpeechWindows(WindowDataset):
    """A window for every heard word, cut when it is asked for, with positions, subject and speech features.

    Window and speech begin at the word's onset, or every ``stride`` seconds; the brain signals are taken ``delay``
    later (Defossez et al. 2023: 3 s, 150 ms, baseline of 0.5 s, clipped at 20).

    Parameters
    ----------
    corpus : SpeechCorpus
        Prepared recordings.
    features : mapping of str to ndarray, each of shape (F, T_sound), float32
        Features of every sound file at the corpus' sampling rate.
    subjects : sequence of str, optional
        Subjects in the order of their index; those of the corpus by default. Others get the index -1.
    seconds, delay, baseline : float
        Length of a window; time from sound to brain; stretch at a window's start whose mean is subtracted (s).
    clip : float
        Largest absolute value of a signal, in robust standard units.
    stride : float, optional
        Take a window every so many seconds of heard speech instead of at words.

    Attributes
    ----------
    left_out : int
        Words without a whole window: the recording or the sound begins too late or ends too early.
    sound_start : ndarray of int64
        First step of every word's window in its sound, for the rows of ``signals``.
    mean, scale : ndarray, shape (F, 1), float32
        What the features are standardised with; 0 and 1 until :meth:`standardised`.

    Notes
    -----
    ``metadata`` has a row a window: the ids of its recording; ``word``, ``sequence``, ``sound``, ``sound_onset`` (s);
    ``segment``, a dense number of the distinct (sound, sound onset); ``onset`` (s, of the brain window) and ``source``.
    A batch carries ``levels["segment"]`` and ``levels["patient"]``, ``sensors`` and ``paired["speech"]`` (B, F, T).

    Raises
    ------
    DataError
        When no word has a whole window.
    """

    def __init__(
        self,
        corpus: SpeechCorpus,
        features: Mapping[str, np.ndarray],
        subjects: Sequence[str] | None = None,
        seconds: float = 3.0,
        delay: float = 0.15,
        baseline: float = 0.5,
        clip: float = 20.0,
        stride: float | None = None,
    ) -> None:
        sfreq = corpus.sfreq
        n_times = round(seconds * sfreq)
        words = corpus.words if stride is None else corpus.grid(stride)
        start = np.round((words["onset"] + delay).to_numpy() * sfreq).astype(np.int64)
        sound_start = np.round(words["sound_onset"].to_numpy() * sfreq).astype(np.int64)
        steps = np.array([one.data.shape[1] for one in corpus.recordings])[words["recording"]]
        sound_steps = np.array([features[path].shape[1] for path in words["sound"]])
        whole = (start >= 0) & (start + n_times <= steps) & (sound_start >= 0) & (sound_start + n_times <= sound_steps)
        self.left_out = int((~whole).sum())
        if not whole.any():
            raise DataError(
                f"not one of {len(words)} words is followed by {seconds:g} s of both brain signals and sound: use "
                "shorter windows."
            )
        words, start, sound_start = words[whole].reset_index(drop=True), start[whole], sound_start[whole]
        self.corpus, self.features, self.delay = corpus, features, delay
        self.subjects = list(corpus.subjects if subjects is None else subjects)
        self.sound_start = sound_start
        self.mean, self.scale = np.zeros((1, 1), dtype=np.float32), np.ones((1, 1), dtype=np.float32)
        ids = pd.DataFrame([corpus.recordings[number].ids for number in words["recording"]])
        segment = pd.DataFrame({"sound": words["sound"], "start": sound_start}).groupby(["sound", "start"]).ngroup()
        table = words[["recording", "word", "sequence", "sound", "sound_onset", "duration"]].rename(
            columns={"recording": "recording_number"}
        )
        table = pd.concat([ids, table], axis=1).assign(
            segment=segment.to_numpy(dtype=np.int64),
            onset=start / sfreq,
            source=[corpus.recordings[number].source for number in words["recording"]],
        )
        cuts: Any = Cuts(corpus, words["recording"].to_numpy(), start, n_times, round(baseline * sfreq), clip)
        super().__init__(cuts, table, _channels(corpus), levels=("patient",))

    @property
    def n_features(self) -> int:
        """Number F of speech features."""
        return len(next(iter(self.features.values())))

    def standardised(self, mean: np.ndarray, scale: np.ndarray) -> SpeechWindows:
        """Return the same windows with features less ``mean`` (F,) and divided by ``scale`` (F,)."""
        other = self.select(np.arange(len(self)))
        other.mean = np.asarray(mean, dtype=np.float32).reshape(-1, 1)
        other.scale = np.asarray(scale, dtype=np.float32).reshape(-1, 1)
        return other

    def speech(self, index: np.ndarray) -> np.ndarray:
        """Return the features of the windows at the positions ``index`` (k,), shape (k, F, T), float32."""
        n_times = self.signals.shape[2]
        cut = np.empty((len(index), self.n_features, n_times), dtype=np.float32)
        sounds = self.metadata["sound"].to_numpy()
        for part, one in zip(cut, index, strict=True):
            begin = self.sound_start[self.rows[one]]
            part[:] = self.features[sounds[one]][:, begin : begin + n_times]
        cut -= self.mean
        cut /= self.scale
        return cut

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> Batch:
        index = np.atleast_1d(np.arange(len(self))[index])
        batch = super().__getitem__(index)
        table = self.metadata.iloc[index]
        positions = np.full((len(index), batch.x.shape[1], 2), np.nan, dtype=np.float32)
        for place, number in zip(positions, table["recording_number"], strict=True):
            known = self.corpus.recordings[number].positions
            place[: len(known)] = known
        order = {subject: number for number, subject in enumerate(self.subjects)}
        subject = np.array([order.get(one, -1) for one in table["patient"]], dtype=np.int64)
        batch.levels["segment"] = torch.from_numpy(table["segment"].to_numpy(dtype=np.int64))
        batch.sensors = Sensors(torch.from_numpy(positions), torch.from_numpy(subject))
        batch.paired["speech"] = torch.from_numpy(self.speech(index))
        return batch


def _channels(corpus: SpeechCorpus) -> Channels:
    """Return the channels that all recordings share, or numbered slots where they differ."""
    first = corpus.recordings[0].channels
    if all(one.channels.names == first.names for one in corpus.recordings):
        return first
    n = max(len(one.channels) for one in corpus.recordings)
    return Channels(tuple(f"sensor {i + 1}" for i in range(n)), ("misc",) * n, first.unit, first.sfreq)
