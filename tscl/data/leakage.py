"""The leak guard: nothing that was trained on may be tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tscl.data.windows import WindowDataset
from tscl.errors import DataError, LeakageError

SHOWN = 10


def name_some(ids: Sequence[str] | np.ndarray) -> str:
    """Write the first ten of ``ids``, and how many more there are."""
    shown = ", ".join(str(one) for one in ids[:SHOWN])
    return f"{shown} and {len(ids) - SHOWN} more" if len(ids) > SHOWN else shown


def level_ids(metadata: pd.DataFrame, levels: Sequence[str], level: str) -> np.ndarray:
    """Return the id of every window at a level, as text.

    Parameters
    ----------
    metadata : DataFrame, n rows
        Table of a :class:`~tscl.data.WindowDataset`.
    levels : sequence of str
        Its levels, coarse to fine.
    level : str
        One of them.

    Returns
    -------
    ndarray, shape (n,), object
        The column as text. Where two patients use the same id for a level finer than the patient, every id is
        preceded by its patient's: ``"P01/trial 3"``.

    Raises
    ------
    DataError
        When ``level`` is none of ``levels``.
    """
    if level not in levels:
        raise DataError(f"{level!r} is no level of the data: choose one of {list(levels)}.")
    ids = metadata[level].astype(str)
    if "patient" in levels and levels.index(level) > levels.index("patient"):
        patients = metadata["patient"].astype(str)
        pairs = pd.DataFrame({"patient": patients, "id": ids}).drop_duplicates()
        if pairs["id"].duplicated().any():
            ids = patients + "/" + ids
    return ids.to_numpy(dtype=object)


def check_leakage(train: WindowDataset, test: WindowDataset, *, levels: Sequence[str] | None = None) -> None:
    """Refuse two data sets that share a patient, a trial, or a stretch of time of a file.

    Parameters
    ----------
    train, test : WindowDataset
        The two sides, in any order.
    levels : sequence of str, optional
        Levels whose ids must not stand on both sides. By default ``"patient"`` and every finer level, or all levels
        where there is no patient: a site or a device may be shared.

    Raises
    ------
    LeakageError
        Naming the shared ids, or the files of which overlapping windows stand on both sides.
    DataError
        When a level is not one of both data sets.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from tscl.data import Channels, WindowDataset, check_leakage
    >>> table = pd.DataFrame({"patient": ["a", "a", "b"], "trial": [0, 1, 2]})
    >>> data = WindowDataset(np.zeros((3, 1, 8), "float32"), table, Channels(("I",), ("ecg",), "mV", 8.0))
    >>> check_leakage(data.select([0, 1]), data.select([2]))
    """
    if levels is None:
        shared = [level for level in train.levels if level in test.levels]
        levels = shared[shared.index("patient") :] if "patient" in shared else shared
    for level in levels:
        for data in (train, test):
            if level not in data.levels:
                raise DataError(f"{level!r} is no level of the data: choose one of {list(data.levels)}.")
    if len(train) == 0 or len(test) == 0:
        return
    common = [level for level in train.levels if level in test.levels]
    both = pd.concat([train.metadata, test.metadata], ignore_index=True)
    for level in levels:
        ids = level_ids(both, common, level)
        twice = np.intersect1d(ids[: len(train)], ids[len(train) :])
        if len(twice):
            raise LeakageError(
                f"{len(twice)} {level} ids stand on both sides: {name_some(twice)}. Split the data by "
                f"{'patient' if 'patient' in common else level} so that every id stands on one side."
            )
    check_overlap(train, test)


def check_overlap(train: WindowDataset, test: WindowDataset) -> None:
    """Raise LeakageError when windows of the same file overlap in time across the sides."""
    if not all({"source", "onset"} <= set(data.metadata.columns) for data in (train, test)):
        return
    lasts = train.duration, test.duration
    files = _shared_stretches(train.metadata, test.metadata, "source", "onset", lasts, 0.5 / train.channels.sfreq)
    if len(files):
        raise LeakageError(
            f"windows of {len(files)} files overlap in time across the sides: {name_some(files)}. Split by a level "
            "that keeps overlapping windows together, such as the patient or the recording."
        )


def _shared_stretches(
    train: pd.DataFrame, test: pd.DataFrame, file: str, onset: str, seconds: tuple[float, float], tolerance: float
) -> np.ndarray:
    """Return the values of the column ``file`` of which windows of both sides overlap by more than ``tolerance`` (s).

    In the order of time the closest windows of opposite sides are neighbours, so neighbours are all that is compared.
    """
    both = pd.concat([train[[file, onset]], test[[file, onset]]], ignore_index=True)
    both["side"] = np.repeat([0, 1], [len(train), len(test)])
    both["stop"] = both[onset] + np.repeat(seconds, [len(train), len(test)])
    both = both[both[file].notna() & (both[file].astype(str) != "") & both[onset].notna()]
    both = both.sort_values([file, onset], kind="stable", ignore_index=True)
    first, second = both.iloc[:-1].reset_index(drop=True), both.iloc[1:].reset_index(drop=True)
    overlap = (
        (first[file] == second[file]) & (first["side"] != second["side"]) & (second[onset] < first["stop"] - tolerance)
    )
    return first.loc[overlap, file].unique()


def check_seen(manifest: Mapping[str, Any], data: WindowDataset) -> None:
    """Refuse to judge a model on what it was trained or chosen on.

    Parameters
    ----------
    manifest : mapping
        What :attr:`tscl.data.Split.manifest` gave when the model was trained.
    data : WindowDataset
        The windows to evaluate on.

    Raises
    ------
    LeakageError
        Naming the ids of ``data`` that stood on the training or validation side. Patients are compared where both
        know them, even if the split was made by a finer level.
    """
    level, key = manifest["by"], "ids"
    if "patients" in manifest["train"] and "patient" in data.levels:
        level, key = "patient", "patients"
    seen = {str(one) for side in ("train", "val") for one in manifest.get(side, {}).get(key, [])}
    ids = np.unique(level_ids(data.metadata, data.levels, level).astype(str))
    known = [one for one in ids if one in seen]
    if known:
        raise LeakageError(
            f"pretraining saw {len(known)} of these {len(ids)} {level} ids: {name_some(known)}. Evaluate on others, or "
            "allow seen ones and say so with the result."
        )


def check_stimuli(train: pd.DataFrame, test: pd.DataFrame, seconds: float) -> None:
    """Refuse two sets of windows between which a stimulus is shared, whoever heard it.

    Parameters
    ----------
    train, test : DataFrame
        Tables of windows with the columns ``sequence`` (sentence or part of a story), ``sound`` (file) and
        ``sound_onset`` (s).
    seconds : float
        Length of a window, s.

    Raises
    ------
    LeakageError
        Naming the sequences that stand on both sides, or the sounds of which overlapping windows do.
    """
    twice = np.intersect1d(train["sequence"].astype(str), test["sequence"].astype(str))
    if len(twice):
        raise LeakageError(
            f"{len(twice)} sequences of speech stand on both sides: {name_some(twice)}. Split by sequence, the same "
            "for all subjects."
        )
    sounds = _shared_stretches(train, test, "sound", "sound_onset", (seconds, seconds), 1e-6)
    if len(sounds):
        raise LeakageError(
            f"windows of {len(sounds)} sounds overlap across the sides: {name_some(sounds)}. Leave out the windows "
            "that reach into a stretch of the other side."
        )
