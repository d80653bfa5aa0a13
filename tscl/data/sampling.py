"""Batches that hold several windows of a trial and several trials of a patient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Sampler

from tscl.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tscl.data.windows import WindowDataset

SPILL = 4
"""At most one part in four of a batch stays empty to keep trials and patients together."""


class HierarchicalBatchSampler(Sampler[list[int]]):
    """Draw batches in which every level has positive pairs; every window once an epoch.

    In each epoch the windows of a trial are shuffled and dealt into chunks of ``windows_per_trial``; the chunks of a
    patient are dealt, trial after trial, into groups of ``trials_per_patient``; the groups are shuffled and laid out
    in a row that is cut into batches. What is left of a trial makes a smaller chunk, never a single window where
    ``windows_per_trial`` is above two and the trial has more than one.

    Batches are of nearly equal size, at most ``batch_size``, and as many in every epoch. Where all groups are full and
    fill the batches exactly, there are ``n / batch_size`` of them; otherwise batches are a little smaller, so that the
    cuts fall between groups (always, if ``batch_size >= 4 * windows_per_trial * trials_per_patient``) or at least
    between chunks (always, if ``batch_size >= 4 * windows_per_trial``). There is no short last batch, so there is
    nothing to drop.

    On several processes all of them compute the same sequence of batches from ``seed`` and the epoch, and process
    ``rank`` takes every ``num_replicas``-th one. The number of batches is rounded up to a multiple of ``num_replicas``
    by making them smaller: every process has as many batches, no window is repeated, none is lost. Groups are still
    kept together, unless there are too few of them for that many batches. ``batch_size`` is the size on one process;
    only batches of one window may get a second one where the windows cannot be shared evenly otherwise.

    Parameters
    ----------
    trials : ndarray, shape (n,), or None
        Trial of every window (integers or strings). None: windows are taken from patients directly. Ids that several
        patients use are told apart by the patient.
    patients : ndarray, shape (n,), or None
        Patient of every window. None: trials are mixed freely.
    batch_size : int
        Most windows in a batch.
    windows_per_trial, trials_per_patient : int
        Windows of the same trial, and trials of the same patient, that are kept together.
    seed : int
        The same seed and epoch give the same batches.
    num_replicas, rank : int
        Number of processes, and which one this is.

    Raises
    ------
    ConfigError
        For sizes that cannot work, or without both trials and patients.
    DataError
        When trials and patients differ in length, or there are fewer windows than processes.

    Notes
    -----
    A complete pass moves on to the next epoch; ``set_epoch`` chooses one. A pass starts at the epoch's first batch,
    except the one after ``load_state_dict``, which continues after the last batch that was given out.

    Examples
    --------
    >>> import numpy as np
    >>> trials = np.repeat(np.arange(6), 4)
    >>> sampler = HierarchicalBatchSampler(trials, trials // 2, batch_size=8)
    >>> [len(set(trials[batch])) for batch in sampler]
    [2, 2, 2]
    """

    def __init__(
        self,
        trials: np.ndarray | None,
        patients: np.ndarray | None,
        batch_size: int,
        *,
        windows_per_trial: int = 4,
        trials_per_patient: int = 2,
        seed: int = 0,
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        if trials is None and patients is None:
            raise ConfigError("neither trials nor patients are given: pass np.arange(n) as trials to shuffle windows.")
        for name, value in {
            "batch_size": batch_size,
            "windows_per_trial": windows_per_trial,
            "trials_per_patient": trials_per_patient,
            "num_replicas": num_replicas,
        }.items():
            if value < 1:
                raise ConfigError(f"{name} is {value}, it must be at least 1.")
        if not 0 <= rank < num_replicas:
            raise ConfigError(f"rank {rank} is not among {num_replicas} processes.")
        trial = _dense(patients if trials is None else trials)
        patient = _dense(trials if patients is None else patients)
        if len(trial) != len(patient):
            raise DataError(f"{len(trial)} trial ids but {len(patient)} patient ids: give one of each a window.")
        if len(trial) < num_replicas:
            raise DataError(f"{len(trial)} windows cannot be shared by {num_replicas} processes: use fewer.")
        self.batch_size = batch_size
        self.seed = seed
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.start = 0
        self._trial = _dense(patient * (trial.max(initial=0) + 1) + trial)
        self._deal(patient, windows_per_trial, 1 if patients is None else trials_per_patient)

    @classmethod
    def from_dataset(cls, data: WindowDataset, batch_size: int, **options: Any) -> HierarchicalBatchSampler:
        """Take the ids from a data set.

        Trials are the level ``"trial"``, or else the finest level; patients are the level ``"patient"``, or else the
        one above the trials. Without levels, windows are shuffled.

        Parameters
        ----------
        data : WindowDataset
        batch_size : int
        **options
            See :class:`HierarchicalBatchSampler`.
        """
        levels = data.levels
        if not levels:
            return cls(np.arange(len(data)), None, batch_size, **options)
        fine = "trial" if "trial" in levels else levels[-1]
        coarse = "patient" if "patient" in levels else levels[max(levels.index(fine) - 1, 0)]
        if fine != coarse:
            return cls(data.codes(fine), data.codes(coarse), batch_size, **options)
        if fine == "patient":
            return cls(None, data.codes(fine), batch_size, **options)
        return cls(data.codes(fine), None, batch_size, **options)

    def _deal(self, patient: np.ndarray, per_trial: int, per_patient: int) -> None:
        """Compute what is the same in every epoch: sizes of chunks and groups, number of batches."""
        n = len(self._trial)
        order = np.argsort(self._trial, kind="stable")
        place, size = _places(np.bincount(self._trial))
        first = np.flatnonzero(_opens(place, size, per_trial))
        self._chunk_first = first
        self._chunk_size = np.diff(first, append=n)
        self._chunk_trial = self._trial[order][first]
        self._chunk_place = place[first]
        self._chunk_patient = patient[order][first]
        self._group = np.cumsum(_opens(*_places(np.bincount(self._chunk_patient)), per_patient)) - 1
        self._n_batches, self._unit = self._count_batches(n)

    def _count_batches(self, n: int) -> tuple[int, int]:
        """Return the number of batches, and the unit in windows that they are planned in."""
        if n == 0:
            return 0, 1
        in_group = np.bincount(self._group)
        chunk_step, chunk_most = int(np.gcd.reduce(self._chunk_size)), int(self._chunk_size.max())
        group_step = chunk_step * (int(np.gcd.reduce(in_group)) if chunk_step == chunk_most else 1)
        for step, most in ((group_step, chunk_most * int(in_group.max())), (chunk_step, chunk_most), (1, 1)):
            usable = self.batch_size - self.batch_size % step - (most - step)
            if usable >= self.batch_size - self.batch_size // SPILL:
                break
        count = 1 if n <= self.batch_size else -(-n // usable)
        count = min(-(-count // self.num_replicas) * self.num_replicas, n - n % self.num_replicas)
        return count, step if count <= n // step else 1

    def __len__(self) -> int:
        """Return the number of batches of an epoch on this process, wherever a pass starts."""
        return self._n_batches // self.num_replicas

    def _arrange(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the windows of an epoch in a row, shape (n,), and where the batches are cut, shape (batches + 1,)."""
        rng = np.random.default_rng([self.seed, epoch])
        n = len(self._trial)
        if n == 0:
            return self._trial, np.zeros(1, dtype=int)
        windows = np.lexsort((rng.random(n), self._trial))
        trial_order = rng.permutation(self._trial.max() + 1)[self._chunk_trial]
        chunks = np.lexsort((trial_order, self._chunk_place, self._chunk_patient))
        group = rng.permutation(self._group[-1] + 1)[self._group]
        shuffled = np.argsort(group, kind="stable")
        chunks, group = chunks[shuffled], group[shuffled]

        sizes = self._chunk_size[chunks]
        stops = np.cumsum(sizes)
        row = windows[np.repeat(self._chunk_first[chunks] - (stops - sizes), sizes) + np.arange(n)]
        last = np.append(group[1:] != group[:-1], True)
        units = n // self._unit
        ideal = np.arange(1, self._n_batches) * units // self._n_batches * self._unit
        most, least = -(-units // self._n_batches) * self._unit, units // self._n_batches * self._unit
        slack = min(self.batch_size - most, least // 2)
        cuts = ideal
        for ends in (stops, stops[last]):
            nearest = np.append(0, ends)[np.searchsorted(ends, ideal, side="right")]
            cuts = np.where(ideal - nearest <= slack, nearest, cuts)
        return row, np.concatenate([[0], cuts, [n]])

    def __iter__(self) -> Iterator[list[int]]:
        epoch, start, self.start = self.epoch, self.start, 0
        row, cuts = self._arrange(epoch)
        for number in range(self.rank + start * self.num_replicas, self._n_batches, self.num_replicas):
            yield row[cuts[number] : cuts[number + 1]].tolist()
        self.epoch = epoch + 1

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass; a place within that epoch that was loaded before is kept."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def state_dict(self, epoch: int | None = None, done: int | None = None) -> dict[str, int]:
        """Return where the next pass starts.

        Parameters
        ----------
        epoch, done : int, optional
            Epoch and number of batches of it that were consumed, where a loader that fetches ahead knows better.

        Returns
        -------
        dict of str to int
            ``epoch``, ``done``, and what the batches depend on.
        """
        return {
            "epoch": self.epoch if epoch is None else epoch,
            "done": self.start if done is None else done,
            **self._identity(),
        }

    def _identity(self) -> dict[str, int]:
        return {
            "seed": self.seed,
            "windows": len(self._trial),
            "batch_size": self.batch_size,
            "batches": self._n_batches,
            "num_replicas": self.num_replicas,
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue where :meth:`state_dict` was taken; after the last batch of an epoch that is the next epoch.

        Raises
        ------
        ConfigError
            When data, sizes, seed or number of processes are not those of the state.
        """
        for name, value in self._identity().items():
            if state[name] != value:
                raise ConfigError(
                    f"the saved run had {name}={state[name]}, this one has {name}={value}: the epoch cannot be "
                    "continued; use the settings of the saved run."
                )
        finished = state["done"] >= len(self)
        self.epoch = state["epoch"] + int(finished)
        self.start = 0 if finished else state["done"]


def _dense(ids: Any) -> np.ndarray:
    """Number ids, integers or strings, from 0."""
    return np.unique(np.asarray(ids), return_inverse=True)[1]


def _places(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For members laid out parent after parent: the place within the parent, and the parent's size."""
    size = np.repeat(sizes, sizes)
    return np.arange(len(size)) - np.repeat(np.cumsum(sizes) - sizes, sizes), size


def _opens(place: np.ndarray, size: np.ndarray, step: int) -> np.ndarray:
    """Say which members of parents of ``size`` open a new part of ``step`` members; a lone last one gets company."""
    opens = place % step == 0
    if step > 2:
        lone = (size % step == 1) & (size > step)
        opens[lone & (place == size - 1)] = False
        opens[lone & (place == size - 2)] = True
    return opens
