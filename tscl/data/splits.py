"""Who is trained on, who chooses the model, who judges it: splits by patient or any other level."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tscl.data.leakage import check_leakage, level_ids, name_some
from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError

log = logging.getLogger(__name__)

CANDIDATES = 200
"""Random draws of which the best balanced one becomes the held-out side."""


@dataclass
class Split:
    """Three sides of a data set that share no id of the level ``by``.

    Attributes
    ----------
    train : WindowDataset
        What is fitted on.
    val : WindowDataset or None
        What chooses between models; None without one.
    test : WindowDataset
        What judges; no windows in it when nothing was held out.
    by : str
        Level whose ids stand on one side only.
    seed : int or None
        Seed of the draw; None when the ids were given.
    """

    train: WindowDataset
    val: WindowDataset | None
    test: WindowDataset
    by: str = "patient"
    seed: int | None = None

    @property
    def sides(self) -> dict[str, WindowDataset]:
        """The sides that have windows, by name."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: data for name, data in named.items() if data is not None and len(data)}

    def check(self) -> None:
        """Raise LeakageError when two sides share an id of ``by`` or a finer level, or overlapping windows."""
        if self.by not in self.train.levels:
            raise DataError(f"{self.by!r} is no level of the data: choose one of {list(self.train.levels)}.")
        levels = self.train.levels[self.train.levels.index(self.by) :]
        sides = list(self.sides.values())
        for number, first in enumerate(sides):
            for second in sides[number + 1 :]:
                check_leakage(first, second, levels=levels)

    @property
    def manifest(self) -> dict[str, Any]:
        """What is on which side, ready for JSON.

        ``by``, ``seed``, ``levels``, ``target``, and for each of ``train``, ``val`` and ``test`` its ``ids`` at the
        level ``by``, its ``patients`` where that is another level, the number of ``windows``, and the number of
        windows of every class (``classes``, by the class's value; unlabelled windows are not counted).
        """
        names, sides = list(self.sides), list(self.sides.values())
        levels = self.train.levels
        table = pd.concat([data.metadata for data in sides], ignore_index=True)
        where = np.repeat(names, [len(data) for data in sides])
        keys = {"ids": self.by}
        if "patient" in levels and self.by != "patient":
            keys["patients"] = "patient"
        ids = {key: level_ids(table, levels, level) for key, level in keys.items()}
        said: dict[str, Any] = {"by": self.by, "seed": self.seed, "levels": list(levels), "target": self.train.target}
        for name in ("train", "val", "test"):
            side = self.sides.get(name)
            said[name] = {key: sorted(set(column[where == name])) for key, column in ids.items()}
            said[name]["windows"] = 0 if side is None else len(side)
            said[name]["classes"] = {} if side is None else _class_counts(side)
        return said

    @classmethod
    def from_manifest(cls, data: WindowDataset, manifest: Mapping[str, Any]) -> Split:
        """Make the split again that :attr:`manifest` describes.

        Parameters
        ----------
        data : WindowDataset
            The data that were split; ids that the manifest does not know are left out, with a logged warning.
        manifest : mapping
            See :attr:`manifest`.

        Raises
        ------
        DataError
            When ids of the manifest are not in ``data``.
        LeakageError
            When the manifest has an id on two sides.
        """
        by = manifest["by"]
        ids = level_ids(data.metadata, data.levels, by).astype(str)
        wanted = {side: [str(one) for one in manifest[side]["ids"]] for side in ("train", "val", "test")}
        every = [one for side in wanted.values() for one in side]
        _require(ids, every, by)
        unknown = np.setdiff1d(ids, every)
        if len(unknown):
            log.warning("%d %s ids stand on no side of the manifest: %s", len(unknown), by, name_some(unknown))
        rows = [np.flatnonzero(np.isin(ids, side)) for side in wanted.values()]
        return _build(data, rows, by, manifest.get("seed"))

    @classmethod
    def from_ids(cls, data: WindowDataset, by: str, val_ids: Sequence[Any], test_ids: Sequence[Any]) -> Split:
        """Split by given ids, such as a published split; everything else is trained on.

        Parameters
        ----------
        data : WindowDataset
        by : str
            Level of the ids.
        val_ids, test_ids : sequence
            Ids of that level, compared as text.

        Raises
        ------
        DataError
            When an id is not in ``data``, or nothing is left to train on.
        LeakageError
            When an id stands in both lists.
        """
        ids = level_ids(data.metadata, data.levels, by).astype(str)
        _require(ids, [*val_ids, *test_ids], by)
        val, test = (np.isin(ids, [str(one) for one in side]) for side in (val_ids, test_ids))
        rows = [np.flatnonzero(side) for side in (~val & ~test, val, test)]
        return _build(data, rows, by, None)


def holdout(
    data: WindowDataset,
    *,
    by: str = "patient",
    val: float = 0.15,
    test: float = 0.25,
    stratify: bool = True,
    seed: int = 0,
) -> Split:
    """Hold out whole patients, or whole ids of any level.

    scikit-learn's ``GroupShuffleSplit`` draws 200 candidates, and the one whose classes are spread most like those of
    all the data is taken: by share of windows and by share of patients, classes that a side lacks counting most. This
    also balances labels that vary within a patient, and unlabelled windows.

    Parameters
    ----------
    data : WindowDataset
    by : str
        Level that is kept together.
    val, test : float in [0, 1)
        Share of the ids that goes to the validation and test side; 0 for none, otherwise at least one id.
    stratify : bool
        Balance the classes of ``data.target``, where there is one; otherwise the first draw is taken.
    seed : int

    Returns
    -------
    Split

    Raises
    ------
    ConfigError
        For shares that leave nothing to train on.
    DataError
        With fewer ids than sides, or a class that only one id has.

    Examples
    --------
    >>> from tscl.data.datasets import SimulatedECG
    >>> split = holdout(SimulatedECG(n_patients=8, n_trials=2).load(), test=0.25, val=0.25)
    >>> [len(split.manifest[side]["ids"]) for side in ("train", "val", "test")]
    [4, 2, 2]
    """
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        raise ConfigError(f"val={val:g} and test={test:g} must be shares of at least 0 that sum to less than 1.")
    groups = _Groups(data, by)
    groups.require(1 + (val > 0) + (test > 0))
    if stratify and test > 0:
        groups.require_shared_classes()
    rng = np.random.default_rng(seed)
    everyone = np.arange(groups.n)
    rest, tested = groups.draw(everyone, _count(test, groups.n, int(val > 0)), stratify, rng)
    rest, validated = groups.draw(rest, _count(val, groups.n, len(tested)), stratify, rng)
    return _build(data, [groups.rows(side) for side in (rest, validated, tested)], by, seed)


def kfold(
    data: WindowDataset,
    *,
    by: str = "patient",
    n_splits: int = 5,
    val: float = 0.15,
    stratify: bool = True,
    seed: int = 0,
) -> Iterator[Split]:
    """Give ``n_splits`` splits in which every id is tested exactly once.

    Parameters
    ----------
    data : WindowDataset
    by : str
        Level that is kept together.
    n_splits : int
        Number of folds, by scikit-learn's ``StratifiedGroupKFold``, or ``GroupKFold`` without classes.
    val : float in [0, 1)
        Share of all ids that is taken from each training side for validation, as in :func:`holdout`.
    stratify : bool
        Balance the classes of ``data.target``, where there is one.
    seed : int

    Yields
    ------
    Split

    Raises
    ------
    ConfigError
        For fewer than two folds, or a share that leaves nothing to train on.
    DataError
        With fewer ids than folds, or a class that only one id has.
    """
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    if n_splits < 2 or not 0 <= val < 1 - 1 / n_splits:
        raise ConfigError(f"n_splits={n_splits} must be at least 2, and val={val:g} less than 1 - 1 / n_splits.")
    groups = _Groups(data, by)
    groups.require(max(n_splits, 2 + (val > 0)))
    balance = stratify and data.y is not None
    if balance:
        groups.require_shared_classes()
    folds = (StratifiedGroupKFold if balance else GroupKFold)(n_splits, shuffle=True, random_state=seed)
    labels = data.y if balance else np.zeros(len(data))
    try:
        parts = [np.unique(groups.codes[test]) for _, test in folds.split(labels, labels, groups.codes)]
    except ValueError as error:
        raise DataError(f"{n_splits} folds cannot be made: {error} Use fewer folds or stratify=False.") from error
    for fold, tested in enumerate(parts):
        rest = np.setdiff1d(np.arange(groups.n), tested)
        rng = np.random.default_rng([seed, fold])
        rest, validated = groups.draw(rest, _count(val, groups.n, len(tested)), stratify, rng)
        yield _build(data, [groups.rows(side) for side in (rest, validated, tested)], by, seed)


def label_fraction(train: WindowDataset, fraction: float, *, by: str = "patient", seed: int = 0) -> WindowDataset:
    """Return the part of the training windows whose labels may be used.

    With the same seed a smaller fraction is part of a larger one.

    Parameters
    ----------
    train : WindowDataset
        Windows without a label are left out.
    fraction : float in (0, 1]
        Share of the labelled patients, or windows, that is kept.
    by : str
        ``"window"``, or a level such as ``"patient"`` whose ids are kept or left out as a whole.
    seed : int

    Returns
    -------
    WindowDataset
        Stratified by class (of a patient: the most frequent one); at least one patient, or window, of every class.

    Raises
    ------
    ConfigError
        When ``fraction`` is not in (0, 1].
    DataError
        When there is no target or no labelled window.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f"the label fraction is {fraction:g}, it must be above 0 and at most 1.")
    if train.y is None:
        raise DataError("the data have no target: choose the label column with `with_target`.")
    labelled = train.select(train.y >= 0)
    if not len(labelled):
        raise DataError(f"no window has a label in the column {train.target!r}.")
    if fraction == 1:
        return labelled
    y = train.y[train.y >= 0]
    units = np.arange(len(y)) if by == "window" else _Groups(labelled, by).codes
    counts = np.zeros((units.max() + 1, len(train.classes)), dtype=int)
    np.add.at(counts, (units, y), 1)
    order = np.random.default_rng(seed).permutation(len(counts))
    stratum = counts.argmax(axis=1)
    chosen = np.zeros(len(counts), dtype=bool)
    for one in np.argsort((counts > 0).sum(axis=0), kind="stable"):
        has = counts[order, one] > 0
        if has.any() and not (counts[chosen, one] > 0).any():
            chosen[order[has.argmax()]] = True
    for one in np.unique(stratum):
        members = order[stratum[order] == one]
        wanted = round(fraction * len(members)) - int(chosen[members].sum())
        chosen[members[~chosen[members]][: max(wanted, 0)]] = True
    return labelled.select(np.flatnonzero(chosen[units]))


class _Groups:
    """The ids of one level, and how many windows of each class every id has."""

    def __init__(self, data: WindowDataset, by: str) -> None:
        if len(data) == 0:
            raise DataError("the data have no windows: there is nothing to split.")
        self.by, self.classes = by, data.classes
        self.codes, self.ids = pd.factorize(level_ids(data.metadata, data.levels, by))
        self.n = len(self.ids)
        y = np.full(len(data), -1) if data.y is None else data.y
        self.counts = np.zeros((self.n, len(data.classes) + 1))
        np.add.at(self.counts, (self.codes, y), 1)

    def rows(self, groups: np.ndarray) -> np.ndarray:
        """Positions of the windows of some groups, in the order of the data."""
        return np.flatnonzero(np.isin(self.codes, groups))

    def require(self, wanted: int) -> None:
        if self.n < wanted:
            raise DataError(
                f"{self.n} {self.by} ids cannot fill {wanted} sides ({name_some(list(self.ids))}): every side needs "
                "one of its own; add data, ask for fewer sides, or split by a finer level."
            )

    def require_shared_classes(self) -> None:
        having = (self.counts[:, :-1] > 0).sum(axis=0)
        if len(having) > 1 and (having == 1).any():
            one = int(np.flatnonzero(having == 1)[0])
            holder = self.ids[np.flatnonzero(self.counts[:, one])[0]]
            raise DataError(
                f"class {self.classes[one]!r} is found in the {self.by} {holder} alone, so it cannot be both trained "
                "on and tested: add data, leave that class out, or pass stratify=False."
            )

    def draw(
        self, pool: np.ndarray, size: int, stratify: bool, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Part the groups ``pool`` into the rest and ``size`` drawn ones, balanced by class."""
        if size == 0:
            return pool, pool[:0]
        from sklearn.model_selection import GroupShuffleSplit

        balance = stratify and len(self.classes) > 1
        seed = int(rng.integers(2**31 - 1))
        shuffles = GroupShuffleSplit(CANDIDATES if balance else 1, test_size=size, random_state=seed)
        candidates = shuffles.split(pool, groups=pool)
        best = min(candidates, key=lambda pair: self._imbalance(pool, *pair)) if balance else next(candidates)
        return np.sort(pool[best[0]]), np.sort(pool[best[1]])

    def _imbalance(self, pool: np.ndarray, kept: np.ndarray, drawn: np.ndarray) -> float:
        counts = self.counts[pool]
        score = 0.0
        for table in (counts, counts > 0):
            share, whole = table[drawn].sum(axis=0), table.sum(axis=0)
            score += float(np.abs(share / share.sum() - whole / whole.sum()).sum())
        there = (counts[:, :-1] > 0).any(axis=0)
        score += 10 * int((there & ~(counts[drawn, :-1] > 0).any(axis=0)).sum())
        return score + 100 * int((there & ~(counts[kept, :-1] > 0).any(axis=0)).sum())


def _count(share: float, n: int, taken: int) -> int:
    """Number of ids for a share of ``n`` when ``taken`` are gone: at least one, and at least one left over."""
    return 0 if share == 0 else min(max(1, round(share * n)), n - taken - 1)


def _class_counts(data: WindowDataset) -> dict[str, int]:
    y = data.y
    return {} if y is None else {str(name): int((y == one).sum()) for one, name in enumerate(data.classes)}


def _require(there: np.ndarray, wanted: Sequence[Any], by: str) -> None:
    missing = np.setdiff1d([str(one) for one in wanted], there)
    if len(missing):
        raise DataError(
            f"{len(missing)} {by} ids are not in the data: {name_some(missing)}. Load the data that the split was "
            "made of."
        )


def _build(data: WindowDataset, rows: Sequence[np.ndarray], by: str, seed: int | None) -> Split:
    """Make a checked split of the positions on the training, validation and test side."""
    train, val, test = rows
    if not len(train):
        raise DataError(f"no window is left to train on: every {by} is on the validation or test side.")
    split = Split(data.select(train), data.select(val) if len(val) else None, data.select(test), by, seed)
    split.check()
    return split
