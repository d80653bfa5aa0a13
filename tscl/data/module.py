"""DataModules: from a named study, or from windows in memory, to the loaders that Lightning trains with."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Literal

import lightning as L
import numpy as np
from torch.utils.data import DataLoader

from tscl.data.datasets.base import Study
from tscl.data.loading import WindowLoader, eval_loader
from tscl.data.prepare import recipe_key
from tscl.data.preprocessing import Preprocessing
from tscl.data.sampling import HierarchicalBatchSampler
from tscl.data.splits import Split, holdout, kfold
from tscl.data.store import WindowStore
from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError
from tscl.types import Batch


@dataclass
class SplitConfig:
    """How patients are parted.

    Attributes
    ----------
    scheme : {"holdout", "kfold", "published"}
        One random hold-out, one fold of a cross-validation, or the split of the study's literature.
    by : str
        Level that is kept together.
    val, test : float
        Shares of the ids; ``test`` only for a hold-out.
    stratify : bool
        Balance the classes.
    seed : int
        Seed of the draw.
    n_splits, fold : int
        Number of folds, and which of them is tested (from 0).
    """

    scheme: Literal["holdout", "kfold", "published"] = "holdout"
    by: str = "patient"
    val: float = 0.15
    test: float = 0.25
    stratify: bool = True
    seed: int = 0
    n_splits: int = 5
    fold: int = 0

    def __call__(self, data: WindowDataset, study: Study) -> Split:
        """Split ``data``; ``study`` knows the published split.

        Raises
        ------
        ConfigError
            When the fold does not exist, or the study has no published split that fits the data.
        DataError
            When the data cannot be split so.
        """
        if self.scheme == "holdout":
            return holdout(data, by=self.by, val=self.val, test=self.test, stratify=self.stratify, seed=self.seed)
        if self.scheme == "kfold":
            if not 0 <= self.fold < self.n_splits:
                raise ConfigError(f"fold {self.fold} is not one of the folds 0 to {self.n_splits - 1}.")
            folds = kfold(
                data, by=self.by, n_splits=self.n_splits, val=self.val, stratify=self.stratify, seed=self.seed
            )
            return next(islice(folds, self.fold, None))
        published = study.published_split(data)
        if published is None:
            raise ConfigError(f"{study.name} has no published split that fits these data: choose holdout or kfold.")
        return published


class WindowDataModule(L.LightningDataModule):
    """Windows in memory, with hierarchical batches for training and all windows in order for validation.

    Under DDP every process takes its own batches, so Lightning must not put its own sampler in the place of ours:
    ``Trainer(use_distributed_sampler=False)``, which the command line and the estimators set. Every process
    validates on all validation windows.

    Parameters
    ----------
    train : WindowDataset
    val : WindowDataset, optional
    batch_size : int
        Most windows in a batch on one process.
    windows_per_trial, trials_per_patient : int
        See :class:`~tscl.data.HierarchicalBatchSampler`.
    num_workers : int
        Processes that read ahead.
    seed : int
        Of the order of the windows.

    Attributes
    ----------
    split : Split
        The sides.
    """

    split: Split

    def __init__(
        self,
        train: WindowDataset,
        val: WindowDataset | None = None,
        batch_size: int = 256,
        windows_per_trial: int = 4,
        trials_per_patient: int = 2,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.split = Split(train, val, train.select(np.arange(0)))
        self._set_batches(batch_size, windows_per_trial, trials_per_patient, num_workers, seed)

    def _set_batches(
        self, batch_size: int, windows_per_trial: int, trials_per_patient: int, num_workers: int, seed: int
    ) -> None:
        self.batch_size = batch_size
        self.windows_per_trial = windows_per_trial
        self.trials_per_patient = trials_per_patient
        self.num_workers = num_workers
        self.seed = seed

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return self.split.train.shape[1]

    @property
    def n_classes(self) -> int:
        """Number of classes; 0 without a target."""
        return len(self.split.train.classes)

    @property
    def _pin_memory(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    @property
    def _share(self) -> dict[str, int]:
        """What tells a sampler the order and this process's share of the batches."""
        alone = self.trainer is None
        n, rank = (1, 0) if alone else (self.trainer.world_size, self.trainer.global_rank)
        return {"seed": self.seed, "num_replicas": n, "rank": rank}

    def _sampler(self) -> HierarchicalBatchSampler:
        together = {"windows_per_trial": self.windows_per_trial, "trials_per_patient": self.trials_per_patient}
        return HierarchicalBatchSampler.from_dataset(self.split.train, self.batch_size, **together, **self._share)

    def train_dataloader(self) -> WindowLoader:
        """Return the training loader of this process."""
        return WindowLoader(self.split.train, self._sampler(), self.num_workers, self._pin_memory)

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """Return the validation loader, in a list that is empty where there are no validation windows."""
        val = self._validated()
        return [] if val is None else [eval_loader(val, self.batch_size, self.num_workers, self._pin_memory)]

    def _validated(self) -> WindowDataset | None:
        """Return the validation windows in the order of their batches."""
        return self.split.val


class CohortDataModule(WindowDataModule):
    """A study's files, from disk to batches: prepared, cached, split by patient, checked for leaks.

    Parameters
    ----------
    study : Study
        Which data, and their meaning.
    root : str, optional
        Folder of the files; see :meth:`tscl.data.datasets.Study.find`.
    batch_size : int
        Most windows in a batch on one process.
    windows_per_trial, trials_per_patient : int
        See :class:`~tscl.data.HierarchicalBatchSampler`.
    split : SplitConfig, optional
        How patients are parted; a hold-out by patient by default.
    preprocessing : Preprocessing, optional
        Another way from recordings to windows than the study's.
    cache : str, optional
        Folder in which prepared windows are kept. Without it every process prepares them in its own memory.
    store : str, optional
        A store that ``tscl prepare`` made of the study, or an fsspec URL of one, instead of ``root`` and ``cache``.
    n_jobs : int
        Recordings that are read at the same time.
    num_workers : int
        Processes that read batches ahead.
    on_error : {"raise", "skip"}
        What an unusable file does.
    download : bool
        Fetch missing files first, where the source is open.
    seed : int
        Of the order of the windows; the split has its own.

    Attributes
    ----------
    data : WindowDataset
        All windows, after :meth:`setup`.
    split : Split
        Their sides, after :meth:`setup`.

    Examples
    --------
    >>> from tscl.data.datasets import SimulatedECG
    >>> module = CohortDataModule(SimulatedECG(n_patients=8, n_trials=2), batch_size=16)
    >>> module.n_channels, module.n_classes
    (4, 2)
    """

    data: WindowDataset

    def __init__(
        self,
        study: Study,
        root: str | None = None,
        batch_size: int = 256,
        windows_per_trial: int = 4,
        trials_per_patient: int = 2,
        split: SplitConfig | None = None,
        preprocessing: Preprocessing | None = None,
        cache: str | None = None,
        store: str | None = None,
        n_jobs: int = 1,
        num_workers: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        download: bool = False,
        seed: int = 0,
    ) -> None:
        L.LightningDataModule.__init__(self)
        self._set_batches(batch_size, windows_per_trial, trials_per_patient, num_workers, seed)
        self.study = study
        self.root = root
        self.split_config = SplitConfig() if split is None else split
        self.preprocessing = preprocessing
        self.cache = cache
        self.store = store
        self.n_jobs = n_jobs
        self.on_error = on_error
        self.download = download

    def prepare_data(self) -> None:
        """Fetch missing files where that is asked for, and fill the cache; run on one process a machine."""
        if hasattr(self, "split"):
            return
        if self.download and self.study.patterns and self.store is None:
            self.root = str(self.study.download(self.root))
        if self.cache is not None and self.store is None:
            self.data = self.load(progress=True)

    def load(self, progress: bool = False) -> WindowDataset:
        """Return all windows of the study, from the store, or from the cache where they are there.

        Raises
        ------
        DataNotFoundError
            When the files are not found.
        DataError
            When a file cannot be used.
        ConfigError
            When the store was not made by the preprocessing and levels of this module, or a root is given as well.
        """
        if self.store is not None:
            return self._from_store(self.store)
        return self.study.load(
            self.root,
            preprocessing=self.preprocessing,
            cache=self.cache,
            n_jobs=self.n_jobs,
            on_error=self.on_error,
            progress=progress,
        )

    def _from_store(self, folder: str) -> WindowDataset:
        if self.root is not None:
            raise ConfigError(f"there is a root, {self.root}, and a store, {folder}: give one of the two.")
        store = WindowStore(folder)
        recipe = recipe_key(self.preprocessing or self.study.preprocessing(), self.study.levels)
        if store.info.recipe not in ("", recipe) or store.info.levels != self.study.levels:
            raise ConfigError(
                f"{folder} was prepared in another way (its levels are {list(store.info.levels)}, the study's "
                f"{list(self.study.levels)}; or the preprocessing differs): use the configuration that made it."
            )
        data = WindowDataset.from_store(store).with_target(self.study.target)
        data.skipped = store.left_out()
        return data

    def setup(self, stage: str | None = None) -> None:
        """Load the windows, split them, and refuse a split that leaks.

        Raises
        ------
        LeakageError
            When a patient, a finer id, or overlapping windows stand on two sides.
        DataNotFoundError, DataError, ConfigError
            As :meth:`load` and :class:`SplitConfig` say.
        """
        if not hasattr(self, "split"):
            if not hasattr(self, "data"):
                self.data = self.load(progress=self.cache is None and self._is_first)
            split = self.split_config(self.data, self.study)
            split.check()
            self.split = split

    @property
    def _is_first(self) -> bool:
        return self.trainer is None or self.trainer.is_global_zero

    @property
    def n_channels(self) -> int:
        """Number of channels; loads the data if they are not there yet."""
        self.setup()
        return super().n_channels

    @property
    def n_classes(self) -> int:
        """Number of classes, 0 without a target; loads the data if they are not there yet."""
        self.setup()
        return super().n_classes
