"""From sources to a window data set: parallel over recordings, cached, and all or nothing."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from tscl.data.cachekey import cache_key
from tscl.data.preprocessing.pipeline import Preprocessing, Windows, scale_within
from tscl.data.preprocessing.trials import RecordingSkipped
from tscl.data.recording import Channels
from tscl.data.sources import Source
from tscl.data.windows import FORMAT_VERSION, WindowDataset
from tscl.errors import ConfigError, DataError, TsclError
from tscl.files import atomic_folder

logger = logging.getLogger("tscl")

CACHE_VERSION = 1

Skipped = list[tuple[str, str]]


def _work(source: Source, function: Callable[[Any], Any], on_error: str) -> tuple[list[Any], Skipped]:
    """What the function makes of the recordings of one source, and what was left out of it."""
    done: list[Any] = []
    skipped: Skipped = []
    try:
        recordings = source.load()
    except TsclError as error:
        if on_error == "raise":
            raise
        return [], [(source.path, str(error))]
    for recording in recordings:
        try:
            done.append(function(recording))
        except RecordingSkipped as error:
            skipped.append((recording.source, str(error)))
        except DataError as error:
            if on_error == "raise":
                raise
            skipped.append((recording.source, str(error)))
    return done, skipped


def _agree(results: list[Windows], on_error: str) -> tuple[list[Windows], Skipped]:
    """Keep the recordings whose channels equal the first one's."""
    first = results[0]
    kept: list[Windows] = []
    skipped: Skipped = []
    for windows in results:
        said = first.channels.differences(windows.channels)
        if not said:
            kept.append(windows)
            continue
        message = (
            f"{windows.source} does not fit {first.source}: {said}. Bring all files to one set of channels, rate and "
            "unit (PickChannels, Resample, Rescale)."
        )
        if on_error == "raise":
            raise DataError(message)
        skipped.append((windows.source, message))
    return kept, skipped


def _stack(results: list[Windows]) -> np.ndarray:
    """Join all windows; shorter ones are padded with NaN. Empties ``results`` on the way to save memory."""
    arrays = [array for windows in results for array in windows.signals]
    for windows in results:
        windows.signals = []
    n_times = max(array.shape[2] for array in arrays)
    ragged = any(array.shape[2] != n_times for array in arrays)
    shape = (sum(len(array) for array in arrays), arrays[0].shape[1], n_times)
    signals = np.full(shape, np.nan, dtype=np.float32) if ragged else np.empty(shape, dtype=np.float32)
    at = len(signals)
    while arrays:
        array = arrays.pop()
        signals[at - len(array) : at, :, : array.shape[2]] = array
        at -= len(array)
    return signals


def _table(results: list[Windows], levels: tuple[str, ...]) -> pd.DataFrame:
    """One row a window: ids, labels, onset and source."""
    rows: list[dict[str, Any]] = []
    used: Counter[str] = Counter()
    for windows in results:
        missing = [level for level in levels if level not in windows.ids and level != "trial"]
        if missing:
            raise DataError(
                f"{windows.source} has no id for the levels {missing}: it has {windows.ids}. Add it to the source."
            )
        ids = {level: value for level, value in windows.ids.items() if level != "trial"}
        finest = next((ids[level] for level in reversed(levels) if level in ids), Path(windows.source).stem)
        for signals, labels, onsets in zip(windows.signals, windows.labels, windows.onsets, strict=True):
            if "trial" in windows.ids and len(windows.signals) == 1:
                trial = windows.ids["trial"]
            else:
                parent = windows.ids.get("trial", finest)
                trial = f"{parent}/{used[parent]:03d}"
                used[parent] += 1
            columns = {
                name: value for name, value in labels.items() if name not in ids and not isinstance(value, (list, dict))
            }
            row = {**{level: ids[level] for level in levels if level in ids}, **ids, "trial": trial, **columns}
            rows += [
                {**row, "onset": onset, "source": windows.source} for _, onset in zip(signals, onsets, strict=True)
            ]
    table = pd.DataFrame(rows)
    for name in table.columns[[pd.api.types.is_object_dtype(kind) for kind in table.dtypes]]:
        if pd.api.types.infer_dtype(table[name], skipna=True).startswith("mixed"):
            table[name] = table[name].map(str, na_action="ignore")
    return table


def _assemble(results: list[Windows], preprocessing: Preprocessing, levels: tuple[str, ...]) -> WindowDataset:
    channels: Channels = results[0].channels
    table = _table(results, levels)
    dataset = WindowDataset(_stack(results), table, channels, levels)
    if preprocessing.scale_by is not None:
        scale_within(dataset.signals, dataset.codes(preprocessing.scale_by))
        info = {**channels.to_dict(), "unit": "a.u."}
        dataset = WindowDataset(dataset.signals, table, Channels.from_dict(info), levels)
    return dataset


def over_recordings(
    sources: Sequence[Source], function: Callable[[Any], Any], n_jobs: int, on_error: str, progress: bool
) -> tuple[list[Any], Skipped]:
    """Call a picklable function with every recording of the sources, several at the same time.

    Returns
    -------
    list
        What it gave, in the order of the sources.
    list of (str, str)
        Source and reason of what was left out.

    Raises
    ------
    DataError
        At the first recording that cannot be used, with ``on_error="raise"``.
    """
    from joblib import Parallel, delayed
    from tqdm.auto import tqdm

    work: Callable[..., Any] = delayed(_work)
    parallel = Parallel(n_jobs=n_jobs, return_as="generator")
    results: list[Any] = []
    skipped: Skipped = []
    stream = parallel(work(source, function, on_error) for source in sources)
    for done, left_out in tqdm(stream, total=len(sources), desc="recordings", unit="file", disable=not progress):
        results += done
        skipped += left_out
    return results, skipped


def prepare(
    sources: Sequence[Source],
    preprocessing: Preprocessing,
    *,
    levels: Sequence[str],
    target: str | None = None,
    cache: str | Path | None = None,
    n_jobs: int = 1,
    on_error: Literal["raise", "skip"] = "raise",
    progress: bool = True,
) -> WindowDataset:
    """Read, preprocess and cut all sources into one window data set.

    Parameters
    ----------
    sources : sequence of Source
        Files with their ids and labels.
    preprocessing : Preprocessing
        What is done to each recording.
    levels : sequence of str
        Levels from coarse to fine, such as ``("patient", "recording", "trial")``. Trials get ids of their own,
        ``"<id of the level above>/003"``, where the reader gives none.
    target : str, optional
        Label column.
    cache : str or Path, optional
        Folder of prepared sets. The key is the content of all files, the sources, the preprocessing and the format's
        version; what is found there is opened as a memory map, what is made is written there at once or not at all.
    n_jobs : int
        Recordings worked on at the same time (joblib; -1 means one a core). A surrounding
        ``joblib.parallel_config(backend=...)`` hands the work to a cluster.
    on_error : {"raise", "skip"}
        Stop at the first recording that cannot be used, or leave it out.
    progress : bool
        Show a progress bar.

    Returns
    -------
    WindowDataset
        In the order of the sources. Its attribute ``skipped`` lists (source, reason) of what was left out, also what
        the recipe itself leaves out. Labels that are lists or dicts (header comments) do not become columns.

    Raises
    ------
    DataError
        When a recording cannot be used, files differ in channels or sampling rate, nothing is left, or the disk of
        the cache is full.
    ConfigError
        When ``scale_by`` is no level, or a function of the preprocessing cannot be part of a cache key.
    """
    levels = tuple(levels)
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"on_error={on_error!r}: choose 'raise' or 'skip'.")
    if preprocessing.scale_by is not None and preprocessing.scale_by not in levels:
        raise ConfigError(f"scale_by={preprocessing.scale_by!r} is no level: choose one of {list(levels)}.")
    if not sources:
        raise DataError("there is nothing to prepare: the list of sources is empty.")
    folder = None
    if cache is not None:
        key = cache_key(sources, preprocessing, levels, on_error, CACHE_VERSION, FORMAT_VERSION)
        folder = Path(cache) / key[:32]
        if folder.is_dir():
            return _open(folder, target)
    results, skipped = over_recordings(sources, preprocessing, n_jobs, on_error, progress)
    if results:
        results, unlike = _agree(results, on_error)
        skipped += unlike
    if skipped:
        logger.warning("%d recordings left out, the first: %s", len(skipped), skipped[0][1])
    if not results:
        reason = skipped[0][1] if skipped else "they hold none."
        raise DataError(f"no recording of {len(sources)} sources could be used; the first reason: {reason}")
    dataset = _assemble(results, preprocessing, levels)
    if folder is not None:
        with atomic_folder(folder) as temporary:
            dataset.save(temporary / "data")
            (temporary / "skipped.json").write_text(json.dumps(skipped))
        return _open(folder, target)
    dataset = dataset.with_target(target)
    dataset.skipped = skipped
    return dataset


def _open(folder: Path, target: str | None) -> WindowDataset:
    dataset = WindowDataset.open(folder / "data").with_target(target)
    try:
        dataset.skipped = [(source, reason) for source, reason in json.loads((folder / "skipped.json").read_text())]
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} is damaged ({error}): delete it and prepare it again.") from error
    return dataset
