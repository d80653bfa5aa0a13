"""Sides that share no speech: blocks of sentences, the same for all subjects."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tscl.data.leakage import check_overlap, check_stimuli, name_some
from tscl.data.speech.windows import SpeechWindows
from tscl.data.splits import Split
from tscl.errors import DataError, LeakageError

log = logging.getLogger("tscl")

SIDES = ("train", "val", "test")


@dataclass
class SpeechSplit(Split):
    """Windows of speech whose sides share no sequence and no stretch of a sound, for any subject.

    Attributes
    ----------
    train, val, test : SpeechWindows
        The sides; ``val`` is None without one.
    by : str
        ``"sequence"``.
    seed : int or None
        Seed of the draw of blocks.
    ids : dict of str to list of str
        Sequences of every side, with those of which no window is left.
    """

    train: SpeechWindows
    val: SpeechWindows | None
    test: SpeechWindows
    by: str = "sequence"
    ids: Mapping[str, list[str]] = field(default_factory=dict)

    def check(self) -> None:
        """Raise LeakageError when two sides share a sequence, or overlapping windows of a sound or a recording."""
        sides = list(self.sides.values())
        for number, first in enumerate(sides):
            for second in sides[number + 1 :]:
                check_stimuli(first.metadata, second.metadata, first.duration)
                check_overlap(first, second)

    @property
    def manifest(self) -> dict[str, Any]:
        """What is on which side, ready for JSON.

        ``by`` (``"sequence"``), ``seed``, ``subjects`` in the order of their index, ``speech`` (``mean`` and ``scale``
        of the features over the training side), and for ``train``, ``val`` and ``test`` the sequences (``ids``), the
        number of ``windows`` and of distinct ``segments``.
        """
        said: dict[str, Any] = {
            "by": self.by,
            "seed": self.seed,
            "levels": ["patient"],
            "target": None,
            "subjects": list(self.train.subjects),
            "speech": {"mean": self.train.mean.ravel().tolist(), "scale": self.train.scale.ravel().tolist()},
        }
        for name in SIDES:
            side = self.sides.get(name)
            said[name] = {
                "ids": sorted(self.ids.get(name, [])),
                "windows": 0 if side is None else len(side),
                "segments": 0 if side is None else int(side.metadata["segment"].nunique()),
                "classes": {},
            }
        return said


def split_speech(
    windows: SpeechWindows,
    val: float = 0.1,
    test: float = 0.2,
    block_seconds: float = 30.0,
    seed: int = 0,
    train: SpeechWindows | None = None,
) -> SpeechSplit:
    """Part speech into blocks of consecutive sequences, and the blocks into three sides, the same for all subjects.

    Windows that reach from a block of one side into one of another are left out, with a logged line.

    Parameters
    ----------
    windows : SpeechWindows
        All windows.
    val, test : float
        Shares of the distinct words (Defossez et al. 2023: 0.1 and 0.2).
    block_seconds : float
        Consecutive sequences of a sound are joined until they last so long, s; 0 leaves every sequence on its own.
    seed : int
        Seed of the draw of blocks.
    train : SpeechWindows, optional
        Windows of the same corpus from which the training side is taken instead, such as those on a grid.

    Returns
    -------
    SpeechSplit
        Features standardised by the training side.

    Raises
    ------
    DataError
        When a side would be empty.
    """
    words = windows.corpus.words
    block = sequence_blocks(words, block_seconds)
    spoken = words.drop_duplicates(["sound", "sound_onset"])
    length = spoken.groupby(spoken["sequence"].map(block)).size()
    order = np.random.default_rng(seed).permutation(length.index.to_numpy())
    share = length[order].cumsum().to_numpy() / length.sum()
    before = np.concatenate([[0.0], share[:-1]])
    middle = (before + share) / 2
    side = np.where(middle < test, "test", np.where(middle < test + val, "val", "train"))
    chosen = {name: set(order[side == name].tolist()) for name in SIDES}
    ids = {name: [one for one, number in block.items() if number in chosen[name]] for name in SIDES}
    return _sides(windows, ids, seed, val > 0, train)


def split_by_manifest(
    windows: SpeechWindows, manifest: Mapping[str, Any], train: SpeechWindows | None = None
) -> SpeechSplit:
    """Make the split again that :attr:`SpeechSplit.manifest` describes.

    Parameters
    ----------
    windows : SpeechWindows
    manifest : mapping
    train : SpeechWindows, optional
        See :func:`split_speech`.

    Raises
    ------
    LeakageError
        When the manifest has a sequence on two sides.
    DataError
        When a side would be empty.
    """
    ids = {name: [str(one) for one in manifest[name]["ids"]] for name in SIDES}
    every = [one for side in ids.values() for one in side]
    if len(set(every)) < len(every):
        twice = sorted({one for one in every if every.count(one) > 1})
        raise LeakageError(f"{len(twice)} sequences of speech stand on two sides: {name_some(twice)}.")
    return _sides(windows, ids, manifest.get("seed"), bool(ids["val"]), train)


def sequence_blocks(words: pd.DataFrame, block_seconds: float) -> dict[str, int]:
    """Number the block of every sequence: consecutive sequences of a sound, joined until they last ``block_seconds``.

    Blocks that share a sequence, because several sounds hold it, are one.
    """
    spans = (
        words.groupby(["sound", "sequence"])["sound_onset"].min().reset_index().sort_values(["sound", "sound_onset"])
    )
    number, begun, last = -1, 0.0, ""
    blocks = []
    for sound, onset in zip(spans["sound"].tolist(), spans["sound_onset"].tolist(), strict=True):
        if sound != last or onset - begun >= block_seconds:
            number, begun, last = number + 1, onset, sound
        blocks.append(number)
    codes, names = pd.factorize(spans["sequence"])
    n = number + 1
    ones = np.ones(len(codes), dtype=np.int8)
    _, label = connected_components(coo_array((ones, (blocks, codes + n)), shape=(n + len(names),) * 2), directed=False)
    return dict(zip(names, label[n:].tolist(), strict=True))


def _sides(
    windows: SpeechWindows, ids: Mapping[str, list[str]], seed: int | None, needs_val: bool, train: SpeechWindows | None
) -> SpeechSplit:
    side_of = {sequence: name for name, sequences in ids.items() for sequence in sequences}
    chosen: dict[str, SpeechWindows] = {}
    crossing = 0
    for name in ("val", "test", "train"):
        source = train if train is not None and name == "train" else windows
        own = (source.metadata["sequence"].map(side_of) == name).to_numpy()
        apart = own & ~_straddles(source, side_of)
        if name == "train" and train is not None:
            # Between words, a window may begin within one that begins at a word unknown in its recording.
            apart &= ~_touches(source, [chosen["val"], chosen["test"]])
        crossing += int(own.sum() - apart.sum())
        chosen[name] = source.select(apart)
        if not apart.any() and (needs_val or name != "val"):
            raise DataError(
                f"no window of {windows.duration:g} s is left for the {name} side: use shorter blocks "
                f"(block_seconds), another share, or more sound; there are {len(side_of)} sequences."
            )
    if crossing:
        log.info("%d windows reach from speech of one side into that of another and are left out.", crossing)
    mean, scale = _statistics(chosen["train"])
    sides = {name: side.standardised(mean, scale) for name, side in chosen.items()}
    val = sides["val"] if len(sides["val"]) else None
    split = SpeechSplit(sides["train"], val, sides["test"], seed=seed, ids=ids)
    split.check()
    return split


def _straddles(windows: SpeechWindows, side_of: Mapping[str, str]) -> np.ndarray:
    """Tell which windows reach into words of another side, in their sound or in their recording, (n,) bool."""
    table = windows.metadata
    own = table["sequence"].map(side_of).to_numpy(dtype=object)
    words = windows.corpus.words
    # A window may reach into the other side's stretch of the sound, and, where sounds follow each other closely, into
    # its stretch of the recording.
    sound = _foreign(
        words, "sound", "sound_onset", side_of, table["sound"], table["sound_onset"], own, windows.duration
    )
    sfreq = windows.channels.sfreq
    cut = words.assign(onset=np.round((words["onset"] + windows.delay) * sfreq) / sfreq)
    brain = _foreign(
        cut, "recording", "onset", side_of, table["recording_number"], table["onset"], own, windows.duration
    )
    return sound | brain


def _foreign(
    words: pd.DataFrame,
    where: str,
    when: str,
    side_of: Mapping[str, str],
    place: pd.Series,
    begin: pd.Series,
    own: np.ndarray,
    seconds: float,
) -> np.ndarray:
    """Tell which windows overlap a word that stands on another side, at the same ``place`` and within ``seconds``."""
    found = np.zeros(len(own), dtype=bool)
    sides = words["sequence"].map(side_of)
    rows = pd.Series(np.arange(len(own))).groupby(place.to_numpy())
    for key, group in words.assign(side=sides).drop_duplicates([where, when, "side"]).groupby(where):
        index = rows.indices.get(key)
        if index is None:
            continue
        group = group.sort_values(when)
        onset = group[when].to_numpy()
        start = begin.to_numpy()[index]
        low = np.searchsorted(onset, start - 1e-6)
        high = np.searchsorted(onset, start + seconds - 1e-6)
        for side in set(own[index]):
            other = np.concatenate([[0], np.cumsum((group["side"] != side).to_numpy())])
            mine = own[index] == side
            found[index[mine]] |= (other[high] > other[low])[mine]
    return found


def _touches(windows: SpeechWindows, others: Sequence[SpeechWindows]) -> np.ndarray:
    """Tell which windows overlap one of ``others``, in their sound or in their recording, (n,) bool."""
    found = np.zeros(len(windows), dtype=bool)
    near = windows.duration - 1e-6
    for where, when in (("sound", "sound_onset"), ("recording_number", "onset")):
        rows = windows.metadata.groupby(where).indices
        start = windows.metadata[when].to_numpy()
        for key, onsets in pd.concat([other.metadata for other in others]).groupby(where)[when]:
            index = rows.get(key, np.empty(0, dtype=int))
            onset = np.sort(onsets)
            found[index] |= np.searchsorted(onset, start[index] - near) < np.searchsorted(onset, start[index] + near)
    return found


def _statistics(train: SpeechWindows) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (F,) of the features over the sound of the training side, each step once."""
    n_times = train.signals.shape[2]
    starts = pd.DataFrame({"sound": train.metadata["sound"], "start": train.sound_start[train.rows]}).drop_duplicates()
    total = np.zeros(train.n_features)
    square = np.zeros(train.n_features)
    count = 0
    for name, group in starts.groupby("sound"):
        sound = str(name)
        heard = np.zeros(train.features[sound].shape[1] + 1, dtype=np.int64)
        np.add.at(heard, group["start"], 1)
        np.add.at(heard, group["start"] + n_times, -1)
        values = np.asarray(train.features[sound][:, np.cumsum(heard)[:-1] > 0], dtype=np.float64)
        total += values.sum(axis=1)
        square += (values**2).sum(axis=1)
        count += values.shape[1]
    mean = total / count
    scale = np.sqrt(np.maximum(square / count - mean**2, 0))
    return mean, np.where(scale > 1e-6, scale, 1.0)
