"""``mne.io.Raw`` and ``mne.Epochs`` in memory become windows."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tscl.data.prepare import prepare
from tscl.data.preprocessing import MatchChannels, Preprocessing, SlidingWindows, Step, Trial
from tscl.data.preprocessing.matching import find_names, match, refuse, report
from tscl.data.readers.arrays import ID_KEYS
from tscl.data.readers.mne_info import channels_of
from tscl.data.readers.mne_reader import NOT_SIGNALS, from_raw
from tscl.data.recording import Channels, Recording, unit_of
from tscl.data.sources import Source
from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError

log = logging.getLogger("tscl")

DATA_TYPES = ("eeg", "mag", "grad", "seeg", "ecog", "dbs")
NOBODY = ("", "x", "0", "n/a", "none")
"""Ids by which files and ``info.anonymize`` say that they do not tell whose recording it is."""


def is_mne(X: Any) -> bool:
    """Say whether ``X`` is a Raw or Epochs, or a list of them; loads nothing."""
    if "mne" not in sys.modules:
        return False
    import mne

    items = list(X) if isinstance(X, (list, tuple)) else [X]
    return bool(items) and all(isinstance(one, (mne.io.BaseRaw, mne.BaseEpochs)) for one in items)


def from_mne(
    inst: Any,
    *,
    picks: str | Sequence[str] | None = None,
    window: float | None = None,
    overlap: float = 0.0,
    patient: Any = None,
    trial: Any = None,
    levels: Mapping[str, Any] | None = None,
    like: Channels | None = None,
) -> WindowDataset:
    """Make windows of ``mne.io.Raw`` or ``mne.Epochs``, or of a list of them.

    Parameters
    ----------
    inst : Raw, Epochs, or list of them
        They stay as they are; filters and projectors count as far as the objects have applied them.
    picks : str or sequence of str, optional
        Channel types (``"eeg"``, ``"mag"``, ``"grad"``, ``"ecg"``, ..., or ``"meg"``, ``"data"``) or names. By default
        ``"data"``: EEG, MEG and intracranial channels, or where there are none all but stimulus channels.
    window : float, optional
        Length of a window in seconds; needed for a Raw. Without it an epoch is a window, with it windows are cut inside
        epochs.
    overlap : float
        Part of a window that the next one repeats, 0 <= overlap < 1.
    patient : str, or sequence with one id a recording or one a window, optional
        By default the column ``patient`` of the epochs' metadata, or else ``info["subject_info"]["his_id"]``, or else
        the name of the file: then every recording counts as a patient of its own.
    trial : as ``patient``
        By default the column ``trial`` of the metadata; or else a Raw is one trial, and so is every epoch.
    levels : mapping of str to what ``patient`` takes, optional
        Further id levels, between patient and trial. Columns ``site``, ``session`` and ``recording`` of the metadata
        are levels as well.
    like : Channels, optional
        Channels to bring all recordings to, such as those of a fitted model; those of the first recording by default.
        See :class:`~tscl.data.preprocessing.MatchChannels`.

    Returns
    -------
    WindowDataset
        Voltages in uV, magnetometers in fT, gradiometers in fT/cm, as the readers of files give them. Windows of a Raw
        that overlap annotations beginning with "bad" are left out; channels in ``info["bads"]`` are interpolated. The
        columns ``event`` (the epoch's name in ``event_id``) and those of the epochs' metadata are labels; ``onset`` is
        in seconds from the first sample of a Raw, and in the time of the events of Epochs (missing where an EpochsArray
        only numbers them).

    Raises
    ------
    ConfigError
        When a Raw comes without ``window``, or ``inst`` is something else.
    DataError
        When channels cannot be mapped (the message lists all that differs) or picked, bad ones cannot be interpolated,
        ids do not fit, or no window is left.

    Examples
    --------
    >>> import mne, numpy as np
    >>> info = mne.create_info(["Fz", "Cz", "heart"], 100.0, ["eeg", "eeg", "ecg"])
    >>> raw = mne.io.RawArray(np.zeros((3, 1000)), info, verbose="error")
    >>> from_mne(raw, window=2.0, patient="P01")
    WindowDataset(5 windows, 2 channels, 200 times at 100 Hz; 1 patients, 1 trials)
    """
    if not is_mne(inst):
        raise ConfigError(f"a {type(inst).__name__} is no Raw, Epochs or list of them: make one by mne.io.read_raw.")
    recordings = list(inst) if isinstance(inst, (list, tuple)) else [inst]
    names = _names(recordings)
    if window is None and (raws := [name for name, one in zip(names, recordings, strict=True) if _is_raw(one)]):
        raise ConfigError(f"{raws[0]} is continuous: give window, the seconds of a window, or make epochs of it.")
    if like is None:
        like = pick_channels(signal_channels(recordings[0]), picks, names[0])
    elif picks is not None:
        raise ConfigError("picks and like both say which channels: give one of them.")
    given = {"patient": patient, **(levels or {}), "trial": trial}
    given = {name: value for name, value in given.items() if value is not None}
    ids = {name: _per_recording(value, len(recordings)) for name, value in given.items()}
    _say_unknown(recordings, names, ids)
    sources = [
        Source(name, {k: v[i] for k, v in ids.items() if v is not None}, reader=partial(_read, one, like))
        for i, (name, one) in enumerate(zip(names, recordings, strict=True))
    ]
    known = [*(name for one in recordings for name in _metadata(one) if name in ID_KEYS), *ids]
    between = [k for k in dict.fromkeys(known) if k not in ("patient", "trial") and ids.get(k, True) is not None]
    data = cut_windows(sources, window, overlap, ("patient", *between, "trial"))
    return _with_ids(data, {name: given[name] for name, value in ids.items() if value is None})


def cut_windows(
    sources: Sequence[Source], window: float | None, overlap: float, levels: Sequence[str], steps: Sequence[Step] = ()
) -> WindowDataset:
    """Cut recordings into windows that no bad annotation overlaps.

    Parameters
    ----------
    sources : sequence of Source
        The recordings.
    window : float or None
        Seconds; None where a recording is a window.
    overlap : float
        Part of a window that the next one repeats.
    levels : sequence of str
        Coarse to fine.
    steps : sequence of Step
        What is done to each recording first.

    Returns
    -------
    WindowDataset

    Raises
    ------
    DataError
        When a recording cannot be used or no window is left.
    """
    windows = None if window is None else SlidingWindows(window, overlap, skip_bad=True)
    return prepare(sources, Preprocessing(steps, windows=windows), levels=levels, progress=False)


def signal_channels(inst: Any) -> Channels:
    """Return the channels of a Raw or Epochs without stimulus and system channels."""
    channels = channels_of(inst.info)
    return channels.pick([i for i, kind in enumerate(channels.types) if kind not in NOT_SIGNALS])


def pick_channels(channels: Channels, picks: str | Sequence[str] | None, where: str) -> Channels:
    """Choose channels by type or name, in their order; raises DataError naming those there are."""
    there = f"{where} has {list(channels.names)} of the types {sorted(set(channels.types))}"
    if picks is None:
        index = [i for i, kind in enumerate(channels.types) if kind in DATA_TYPES] or list(range(len(channels)))
    else:
        wanted = {picks} if isinstance(picks, str) else set(picks)
        wanted |= set(DATA_TYPES) if "data" in wanted else set()
        wanted |= {"mag", "grad"} if "meg" in wanted else set()
        pairs = list(zip(channels.names, channels.types, strict=True))
        index = [i for i, pair in enumerate(pairs) if wanted & set(pair)]
        unknown = sorted(wanted - {*channels.names, *channels.types, *DATA_TYPES, "data", "meg"})
        if unknown:
            raise DataError(f"there are no channels {unknown}: {there}.")
    if not index:
        raise DataError(f"there is nothing to pick by {picks!r}: {there}.")
    return channels.pick(index)


def _is_raw(inst: Any) -> bool:
    import mne

    return isinstance(inst, mne.io.BaseRaw)


def _file(inst: Any) -> str:
    names = inst.filenames if _is_raw(inst) else [inst.filename]
    return str(names[0]) if names and names[0] is not None else ""


def _names(recordings: Sequence[Any]) -> list[str]:
    """A name for every recording, its file's where that tells them apart."""
    files = [_file(one) for one in recordings]
    return [
        file if file and files.count(file) == 1 else f"{file or type(one).__name__} {number}"
        for number, (file, one) in enumerate(zip(files, recordings, strict=True))
    ]


def _metadata(inst: Any) -> pd.DataFrame:
    found = getattr(inst, "metadata", None)
    return pd.DataFrame() if found is None else found


def _whose(inst: Any) -> str | None:
    said = str((inst.info["subject_info"] or {}).get("his_id") or "").strip()
    return None if said.lower() in NOBODY else said


def _say_unknown(recordings: Sequence[Any], names: Sequence[str], ids: Mapping[str, Any]) -> None:
    told = [_whose(one) is not None or "patient" in _metadata(one) for one in recordings]
    if len(recordings) > 1 and "patient" not in ids and not all(told):
        log.warning(
            "%d recordings do not say whose they are (first: %s): each counts as a patient of its own; pass patient.",
            told.count(False),
            names[told.index(False)],
        )


def _read(inst: Any, like: Channels, name: str) -> list[Recording]:
    """A Raw as one recording, Epochs as one a piece, brought to the channels; only those needed are read."""
    there, step = signal_channels(inst), MatchChannels(like)
    refuse(match(there, like, tuple(inst.info["bads"])), name)
    needed = [there.names[i] for i in find_names(like.names, there.names) if i >= 0]
    ids = {"patient": _whose(inst) or Path(name).name.split(".")[0]}
    if _is_raw(inst):
        return [replace(step(from_raw(inst, picks=needed, source=name)), ids=ids)]
    epochs = _epochs(inst, [one for one in there.names if one in needed], name)
    mapping = match(epochs[0].channels, like, tuple(epochs[0].bads))
    report(mapping, name)
    return [replace(step.apply(mapping, one), ids={**ids, **one.ids}) for one in epochs]


def _epochs(epochs: Any, names: list[str], name: str) -> list[Recording]:
    epochs = epochs if epochs.preload else epochs.copy().load_data()
    if not len(epochs):
        raise DataError(f"{name} holds no epochs: all were dropped (see epochs.drop_log).")
    channels = channels_of(epochs.info)
    channels = channels.pick([channels.names.index(one) for one in names])
    signals = epochs.get_data(picks=names) * np.array([unit_of(kind)[1] for kind in channels.types])[:, None]
    bads = tuple(one for one in epochs.info["bads"] if one in names)
    events = {code: event for event, code in epochs.event_id.items()}
    rows = _metadata(epochs).to_dict("records") or [{}] * len(signals)
    recordings: list[Recording] = []
    for data, onset, code, row in zip(signals, _onsets(epochs), epochs.events[:, 2], rows, strict=True):
        ids = {str(key): str(value) for key, value in row.items() if key in ID_KEYS}
        labels = {"event": events.get(int(code), str(code)), **{str(k): v for k, v in row.items() if k not in ID_KEYS}}
        recordings.append(Trial(data, channels, ids, labels, source=name, bads=bads, onset=float(onset)))
    return recordings


def _onsets(epochs: Any) -> np.ndarray:
    """Seconds at which epochs begin; NaN where an EpochsArray was given numbers in the place of samples."""
    import mne

    samples = np.sort(epochs.events[:, 0])
    if isinstance(epochs, mne.EpochsArray) and len(samples) > 1 and np.diff(samples).min() < len(epochs.times):
        return np.full(len(samples), np.nan)
    return epochs.events[:, 0] / epochs.info["sfreq"] + epochs.tmin


def _per_recording(value: Any, n_recordings: int) -> list[str] | None:
    """Ids for every recording, None where ``value`` has something else than one a recording."""
    if np.ndim(value) == 0:
        return [str(value)] * n_recordings
    return [str(one) for one in value] if len(value) == n_recordings else None


def _with_ids(data: WindowDataset, ids: Mapping[str, Any]) -> WindowDataset:
    """Give every window the id at its place."""
    if not ids:
        return data
    table = data.metadata.copy()
    for name, values in ids.items():
        column = np.asarray(values)
        if column.shape != (len(data),):
            raise DataError(
                f"{name} has shape {column.shape}, but there are {len(data)} windows of "
                f"{data.metadata['source'].nunique()} recordings: give an id for each of the ones or of the others."
            )
        if pd.isna(column).any():
            raise DataError(f"{name} is missing for {int(pd.isna(column).sum())} windows: every window needs an id.")
        table[name] = column.astype(str)
    levels = [name for name in dict.fromkeys([*data.levels[:-1], *ids]) if name != "trial"]
    return WindowDataset(data.signals, table, data.channels, (*levels, "trial"))
