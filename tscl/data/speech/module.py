"""A study of people who listen to speech, from its files to the batches that Lightning trains with."""

from __future__ import annotations

from typing import Literal

import lightning as L
import numpy as np

from tscl.data.module import WindowDataModule
from tscl.data.preprocessing.steps import Step
from tscl.data.sampling import HierarchicalBatchSampler
from tscl.data.speech.corpus import SpeechCorpus, load_speech
from tscl.data.speech.representations import SpeechRepresentation
from tscl.data.speech.representations.cache import speech_features
from tscl.data.speech.split import SpeechSplit, split_speech
from tscl.data.speech.study import SpeechStudy
from tscl.data.speech.windows import SpeechWindows
from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError


class SpeechDataModule(WindowDataModule):
    """Windows of M/EEG and of the speech that was heard, parted by speech: prepared, cached, checked for leaks.

    Parameters
    ----------
    study : SpeechStudy
        Which data, and their meaning.
    representation : SpeechRepresentation
        What the sounds become.
    root : str, optional
        Folder of the study; see :meth:`tscl.data.datasets.Study.find`.
    speech : str, optional
        Folder of the sound files where it is not the study's own; the speech to simulate with, for the simulated study.
    batch_size : int
        Most windows in a batch on one process.
    seconds, delay, baseline, clip : float
        Cutting of windows; see :class:`~tscl.data.speech.SpeechWindows`.
    val, test, block_seconds : float
        How speech is parted; see :func:`~tscl.data.speech.split_speech`.
    train_stride : float, optional
        Train on a window every so many seconds instead of at every word; validation and test stay at words.
    split_seed : int
        Seed of the draw of blocks.
    steps : list of Step, optional
        What is done to each recording; the study's by default.
    montage : str, optional
        Montage of mne that gives sensors their positions by name.
    cache : str, optional
        Folder in which prepared recordings and speech features are kept.
    n_jobs : int
        Recordings that are worked on at the same time.
    num_workers : int
        Processes that read batches ahead.
    on_error : {"raise", "skip"}
        What an unusable recording does.
    seed : int
        Of the order of the windows; the split has its own.

    Attributes
    ----------
    data : SpeechCorpus
        All recordings, after :meth:`setup`.
    windows : SpeechWindows
        All windows, after :meth:`setup`.
    split : SpeechSplit
        Their sides, after :meth:`setup`.

    Raises
    ------
    ConfigError
        When a number is out of its range.
    """

    data: SpeechCorpus
    windows: SpeechWindows
    split: SpeechSplit

    def __init__(
        self,
        study: SpeechStudy,
        representation: SpeechRepresentation,
        root: str | None = None,
        speech: str | None = None,
        batch_size: int = 256,
        seconds: float = 3.0,
        delay: float = 0.15,
        baseline: float = 0.5,
        clip: float = 20.0,
        val: float = 0.1,
        test: float = 0.2,
        block_seconds: float = 30.0,
        train_stride: float | None = None,
        split_seed: int = 0,
        steps: list[Step] | None = None,
        montage: str | None = None,
        cache: str | None = None,
        n_jobs: int = 1,
        num_workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        seed: int = 0,
    ) -> None:
        L.LightningDataModule.__init__(self)
        if seconds <= 0 or clip <= 0 or not 0 <= baseline <= seconds or batch_size < 1:
            raise ConfigError(
                f"windows of {seconds:g} s with a baseline of {baseline:g} s, clipped at {clip:g}, {batch_size} a "
                "batch: lengths and sizes must be positive, and the baseline within the window."
            )
        if train_stride is not None and train_stride <= 0:
            raise ConfigError(f"train_stride is {train_stride:g} s: it must be positive.")
        if not (val >= 0 and test > 0 and val + test < 1):
            raise ConfigError(f"val={val:g} and test={test:g}: shares of the speech, which leave some for training.")
        self.study, self.representation, self.root, self.speech = study, representation, root, speech
        self._set_batches(batch_size, 1, 1, num_workers, seed)
        self.cutting = {"seconds": seconds, "delay": delay, "baseline": baseline, "clip": clip}
        self.sharing = {"val": val, "test": test, "block_seconds": block_seconds}
        self.split_seed, self.train_stride = split_seed, train_stride
        self.steps, self.montage, self.cache, self.n_jobs, self.on_error = steps, montage, cache, n_jobs, on_error

    def load(self, progress: bool = False) -> SpeechWindows:
        """Return all windows: recordings and features are read, or taken from the cache.

        Raises
        ------
        DataNotFoundError
            When recordings, sounds or the files of the representation are not found.
        DataError
            When one of them cannot be used.
        """
        if not hasattr(self, "windows"):
            self.representation.check()
            self.data = load_speech(
                self.study,
                self.root,
                speech=self.speech,
                steps=self.steps,
                montage=self.montage,
                cache=self.cache,
                n_jobs=self.n_jobs,
                on_error=self.on_error,
                progress=progress,
            )
            features = speech_features(
                self.representation, self.data.sounds, self.data.sfreq, cache=self.cache, progress=progress
            )
            self.windows = SpeechWindows(self.data, features, None, **self.cutting)
        return self.windows

    def training_windows(self) -> SpeechWindows | None:
        """Return the windows on the grid of ``train_stride``; None where training windows begin at words."""
        if self.train_stride is None:
            return None
        windows = self.load()
        return SpeechWindows(self.data, windows.features, None, **self.cutting, stride=self.train_stride)

    def prepare_data(self) -> None:
        """Fill the cache; run on one process a machine."""
        if self.cache is not None:
            self.load(progress=True)

    def setup(self, stage: str | None = None) -> None:
        """Load and split the windows, and refuse a split that leaks.

        Raises
        ------
        LeakageError
            When speech stands on two sides.
        DataNotFoundError, DataError
            As :meth:`load` says.
        """
        if not hasattr(self, "split"):
            first = self.trainer is None or self.trainer.is_global_zero
            windows = self.load(progress=self.cache is None and first)
            self.split = split_speech(windows, seed=self.split_seed, train=self.training_windows(), **self.sharing)

    @property
    def n_channels(self) -> int:
        """Largest number of sensors of a subject."""
        return self.load().shape[1]

    @property
    def n_features(self) -> int:
        """Number of speech features."""
        return self.load().n_features

    @property
    def n_subjects(self) -> int:
        """Number of subjects."""
        return len(self.load().subjects)

    def _sampler(self) -> HierarchicalBatchSampler:
        """Shuffle all training windows, anew every epoch."""
        windows = np.arange(len(self.split.train))
        return HierarchicalBatchSampler(windows, None, self.batch_size, windows_per_trial=1, **self._share)

    def _validated(self) -> WindowDataset | None:
        """Mix the validation windows, always alike: neighbours would be each other's negatives."""
        val = self.split.val
        return None if val is None else val.select(np.random.default_rng(0).permutation(len(val)))
