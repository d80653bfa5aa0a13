"""Recordings one after the other, several worked on at once: what comes of them goes into a store, or into memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from tscl.data.preprocessing.pipeline import Windows
from tscl.data.preprocessing.trials import RecordingSkipped
from tscl.data.recording import Channels
from tscl.data.sources import Source
from tscl.data.store.layout import join, table_of
from tscl.data.windows import WindowDataset
from tscl.errors import DataError, TsclError

Skipped = list[tuple[str, str]]
"""(source, reason) of what was left out."""
Marked = list[tuple[str, str, bool]]
"""(source, reason, whether it failed rather than being left out by the recipe)."""
AHEAD = 16
"""Sources a worker that are handed out at a time: so many results at most wait in memory for their turn."""


def _work(source: Source, function: Callable[[Any], Any], on_error: str) -> tuple[list[Any], Marked]:
    """What the function makes of the recordings of one source, and what was left out of it."""
    done: list[Any] = []
    skipped: Marked = []
    try:
        recordings = source.load()
    except TsclError as error:
        if on_error == "raise":
            raise
        return [], [(source.path, str(error), True)]
    for recording in recordings:
        try:
            done.append(function(recording))
        except RecordingSkipped as error:
            skipped.append((recording.source, str(error), False))
        except DataError as error:
            if on_error == "raise":
                raise
            skipped.append((recording.source, str(error), True))
    return done, skipped


def stream(
    sources: Sequence[Source],
    function: Callable[[Any], Any],
    n_jobs: int,
    on_error: str,
    progress: bool,
    already: int = 0,
) -> Iterator[tuple[list[Any], Marked]]:
    """Call a picklable function with every recording of the sources, several at the same time.

    Parameters
    ----------
    sources : sequence of Source
    function : callable
        From a recording to anything.
    n_jobs : int
        As in joblib, whose ``parallel_config`` may name another backend.
    on_error : {"raise", "skip"}
    progress : bool
        Show a progress bar with the time left.
    already : int
        Sources that were done before, for the progress bar.

    Yields
    ------
    list, list of (str, str, bool)
        Of every source, in order: what the function gave, and what was left out.

    Raises
    ------
    DataError
        At the first recording that cannot be used, with ``on_error="raise"``.
    """
    from joblib import Parallel, delayed, effective_n_jobs
    from tqdm.auto import tqdm

    work: Callable[..., Any] = delayed(_work)
    with (
        tqdm(
            total=already + len(sources), initial=already, desc="recordings", unit="file", disable=not progress
        ) as bar,
        Parallel(n_jobs=n_jobs, return_as="generator") as parallel,
    ):
        step = AHEAD * effective_n_jobs(n_jobs)
        for start in range(0, len(sources), step):
            for result in parallel(work(source, function, on_error) for source in sources[start : start + step]):
                yield result
                bar.update()


def over_recordings(
    sources: Sequence[Source], function: Callable[[Any], Any], n_jobs: int, on_error: str, progress: bool
) -> tuple[list[Any], Skipped]:
    """Return all that :func:`stream` yields: what the function gave, and (source, reason) of what was left out."""
    results: list[Any] = []
    skipped: Skipped = []
    for done, left_out in stream(sources, function, n_jobs, on_error, progress):
        results += done
        skipped += [(source, reason) for source, reason, _ in left_out]
    return results, skipped


class Sink(Protocol):
    """Where windows go, source after source: a :class:`~tscl.data.store.StoreWriter`, or :class:`InMemory`."""

    def append(
        self,
        signals: np.ndarray | None,
        metadata: pd.DataFrame | None,
        channels: Channels | None,
        *,
        key: str,
        source: str,
        trials: Mapping[str, int],
        skipped: Sequence[tuple[str, str, bool]],
    ) -> None:
        """Take the windows of one source."""


class InMemory:
    """Windows that are kept in memory."""

    def __init__(self) -> None:
        self._signals: list[np.ndarray] = []
        self._tables: list[pa.Table] = []
        self._channels: Channels | None = None

    def append(
        self,
        signals: np.ndarray | None,
        metadata: pd.DataFrame | None,
        channels: Channels | None,
        **more: Any,
    ) -> None:
        """Take the windows of one source."""
        if signals is not None and metadata is not None:
            self._channels = self._channels or channels
            self._signals.append(signals)
            self._tables.append(table_of(metadata))

    def dataset(self, levels: tuple[str, ...]) -> WindowDataset:
        """Return all windows, and give up those that were taken."""
        if self._channels is None:
            raise DataError("nothing was appended.")
        signals, self._signals = pad_join(self._signals), []
        return WindowDataset(signals, join(self._tables).to_pandas(), self._channels, levels)


def pad_join(arrays: list[np.ndarray]) -> np.ndarray:
    """Join windows; shorter ones are padded with NaN. Empties the list on the way, to save memory."""
    n_times = max(array.shape[2] for array in arrays)
    if len(arrays) == 1:
        return arrays.pop()
    ragged = any(array.shape[2] != n_times for array in arrays)
    shape = (sum(len(array) for array in arrays), arrays[0].shape[1], n_times)
    signals = np.full(shape, np.nan, dtype=np.float32) if ragged else np.empty(shape, dtype=np.float32)
    at = len(signals)
    while arrays:
        array = arrays.pop()
        signals[at - len(array) : at, :, : array.shape[2]] = array
        at -= len(array)
    return signals


class Collector:
    """Hand the windows of source after source to a sink, with their table, where they fit the first one's.

    Parameters
    ----------
    sink : Sink
    levels : tuple of str
    on_error : {"raise", "skip"}
        What a recording of other channels does.

    Attributes
    ----------
    channels : Channels or None
        Of the first recording; None before it.
    first : str
        Where they come from.
    numbered : Counter of str
        How many trials of a parent were given a number.
    skipped : list of (str, str, bool)
        What was left out.
    """

    def __init__(self, sink: Sink, levels: tuple[str, ...], on_error: str) -> None:
        self.sink, self.levels, self.on_error = sink, levels, on_error
        self.channels: Channels | None = None
        self.first = ""
        self.numbered: Counter[str] = Counter()
        self._given: Counter[str] = Counter()
        self.skipped: Marked = []

    def go_on(self, channels: Channels, rows: Iterable[Mapping[str, Any]]) -> None:
        """Continue behind the committed sources of a store."""
        self.channels = channels
        for row in rows:
            if row["n_windows"]:
                self.first = self.first or row["source"]
            if row["trials"] != "{}":
                self.numbered.update(json.loads(row["trials"]))

    def take(self, results: Sequence[Windows], skipped: Marked, key: str, source: str) -> None:
        """Hand over the recordings of one source.

        Raises
        ------
        DataError
            When a recording has other channels, with ``on_error="raise"``, or lacks the id of a level.
        """
        left_out = list(skipped)
        kept = []
        for windows in results:
            self.channels, self.first = self.channels or windows.channels, self.first or windows.source
            said = self.channels.differences(windows.channels)
            if said:
                message = (
                    f"{windows.source} does not fit {self.first}: {said}. Bring all files to one set of channels, rate "
                    "and unit (PickChannels, Resample, Rescale)."
                )
                if self.on_error == "raise":
                    raise DataError(message)
                left_out.append((windows.source, message, True))
            else:
                kept.append(windows)
        given = self._given = Counter[str]()
        table = self._table(kept) if kept else None
        arrays = [array for windows in kept for array in windows.signals]
        self.sink.append(
            pad_join(arrays) if arrays else None,
            table,
            self.channels,
            key=key,
            source=source,
            trials=given,
            skipped=left_out,
        )
        self.skipped += left_out

    def _table(self, results: Sequence[Windows]) -> pd.DataFrame:
        """One row a window: ids, labels, onset and source."""
        trials: list[dict[str, Any]] = []
        counts, onsets = [], []
        for windows in results:
            missing = [level for level in self.levels if level not in windows.ids and level != "trial"]
            if missing:
                raise DataError(
                    f"{windows.source} has no id for the levels {missing}: it has {windows.ids}. Add it to the source."
                )
            ids = {level: value for level, value in windows.ids.items() if level != "trial"}
            finest = next((ids[level] for level in reversed(self.levels) if level in ids), Path(windows.source).stem)
            for signals, labels, begins in zip(windows.signals, windows.labels, windows.onsets, strict=True):
                columns = {
                    name: value
                    for name, value in labels.items()
                    if name not in ids and not isinstance(value, (list, dict))
                }
                known = {level: ids[level] for level in self.levels if level in ids}
                trial = self._trial(windows, finest)
                last = {"onset": np.nan, "source": windows.source}
                trials.append({**known, **ids, "trial": trial, **columns, **last})
                counts.append(len(signals))
                onsets.append(begins)
        table = pd.DataFrame(trials)
        table = table.iloc[np.repeat(np.arange(len(table)), counts)].reset_index(drop=True)
        return table.assign(onset=np.concatenate(onsets).astype(float))

    def _trial(self, windows: Windows, finest: str) -> str:
        if "trial" in windows.ids and len(windows.signals) == 1:
            return windows.ids["trial"]
        parent = windows.ids.get("trial", finest)
        number = self.numbered[parent]
        self.numbered[parent] += 1
        self._given[parent] += 1
        return f"{parent}/{number:03d}"
