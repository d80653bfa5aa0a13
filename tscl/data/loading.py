"""Loaders that give whole batches and can continue in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler

from tscl.data.sampling import HierarchicalBatchSampler
from tscl.data.windows import WindowDataset
from tscl.types import Batch


class ReadAhead(Dataset[Sequence[int]]):
    """What worker processes run for windows that lie in a memory map: they read them, and send their numbers alone.

    The map is memory that all processes share. Once a worker has read windows, they are in the system's cache, and the
    consumer copies them from there in a fraction of the time that a batch takes from process to process.

    Parameters
    ----------
    data : WindowDataset
    """

    def __init__(self, data: WindowDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Sequence[int]) -> Sequence[int]:
        self.data.signals[self.data.rows[index]]
        return index


def read_ahead(data: WindowDataset, num_workers: int) -> WindowDataset | ReadAhead:
    """Return what a :class:`BatchLoader` of ``data`` is made of.

    Windows that cost more than a copy stay with the workers: those that are fetched, or computed by a class of their
    own.

    Parameters
    ----------
    data : WindowDataset
    num_workers : int
    """
    copied = isinstance(data.signals, np.ndarray) and type(data).__getitem__ is WindowDataset.__getitem__
    return ReadAhead(data) if num_workers and copied else data


class BatchLoader(DataLoader[Batch]):
    """A loader of what :func:`read_ahead` returns; its arguments are those of torch's own loader."""

    def __iter__(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            if isinstance(self.dataset, ReadAhead):
                batch = self.dataset.data[batch]
                if self.pin_memory and torch.cuda.is_available():
                    batch = batch.pin_memory()
            yield batch


class WindowLoader(BatchLoader):
    """A training loader whose place in an epoch can be saved and restored.

    The place is counted in batches that the consumer received, not in those that worker processes fetched ahead.
    Lightning (2.6) stores it in its checkpoints and restores it on its own, because the loader has ``state_dict`` and
    ``load_state_dict``; it sets the sampler's epoch itself. A pass reads epoch and place when its first batch is asked
    for, since Lightning makes the iterator before it sets the epoch. The loader never draws from torch's global random
    generator, so that continuing does not change other random numbers.

    Parameters
    ----------
    data : WindowDataset
    sampler : HierarchicalBatchSampler
        Gives the windows of every batch; under DDP with this process's share. Lightning must not replace it:
        ``Trainer(use_distributed_sampler=False)``.
    num_workers : int
        Processes that read ahead; 0 reads in this one.
    pin_memory : bool
        Put batches into page-locked memory, for copies to a GPU.
    """

    def __init__(
        self,
        data: WindowDataset,
        sampler: HierarchicalBatchSampler,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__(
            read_ahead(data, num_workers),
            batch_size=None,
            sampler=sampler,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            generator=torch.Generator().manual_seed(sampler.seed),
        )
        self._batches = sampler
        self._place: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Batch]:
        epoch, done = self._batches.epoch, self._batches.start
        self._place = epoch, done
        for batch in super().__iter__():
            done += 1
            self._place = epoch, done
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, how many of its batches were given out, and what they depend on."""
        if self._place is None:
            return self._batches.state_dict()
        return self._batches.state_dict(*self._place)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next pass continue where :meth:`state_dict` was taken.

        Raises
        ------
        ConfigError
            When data, sizes, seed or number of processes are not those of the state.
        """
        self._batches.load_state_dict(state)
        self._place = None


def eval_loader(
    data: WindowDataset, batch_size: int = 256, num_workers: int = 0, pin_memory: bool = False
) -> BatchLoader:
    """Return a loader that gives all windows in their order.

    Parameters
    ----------
    data : WindowDataset
    batch_size : int
        Windows in a batch; the last one may be smaller.
    num_workers : int
    pin_memory : bool

    Returns
    -------
    BatchLoader
        A ``DataLoader`` of :class:`tscl.types.Batch`. It does not draw from torch's global random generator.
    """
    return BatchLoader(
        read_ahead(data, num_workers),
        batch_size=None,
        sampler=BatchSampler(SequentialSampler(data), batch_size, drop_last=False),
        num_workers=num_workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),
    )
