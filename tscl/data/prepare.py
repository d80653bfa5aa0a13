"""From sources to a window data set: parallel over recordings, streamed to disk, resumed where it was stopped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tscl.data.cachekey import set_key, source_keys
from tscl.data.preprocessing.pipeline import Preprocessing, scale_within
from tscl.data.recording import Channels
from tscl.data.sources import Source
from tscl.data.store import StoreWriter, WindowStore
from tscl.data.store.layout import FORMAT_VERSION
from tscl.data.streaming import Collector, InMemory, stream
from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError, TsclError

logger = logging.getLogger("tscl")

CACHE_VERSION = 2
NAMED = 3
"""So many files are named in a message."""


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
        Folder of prepared sets, each a store of its own. The key is the content of all files, the sources, the
        preprocessing and the format's version; what is found there is opened as a memory map. What is made is written
        recording by recording into a hidden folder, which gets its name when all is there. When the process is killed,
        the next call goes on there; a second process waits for the first.
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
    _check(sources, preprocessing, levels, on_error)
    if cache is not None:
        return _opened(_cached(sources, preprocessing, levels, Path(cache), n_jobs, on_error, progress), target)
    memory = InMemory()
    collector = Collector(memory, levels, on_error)
    for source, (done, left_out) in zip(
        sources, stream(sources, preprocessing, n_jobs, on_error, progress), strict=True
    ):
        collector.take(done, left_out, "", source.path)
    _check_some(collector.channels is not None, collector.skipped, len(sources))
    dataset = memory.dataset(levels)
    if preprocessing.scale_by is not None:
        scale_within(np.asarray(dataset.signals), dataset.codes(preprocessing.scale_by))
        dataset.channels = Channels.from_dict({**dataset.channels.to_dict(), "unit": "a.u."})
    dataset = dataset.with_target(target)
    dataset.skipped = [(source, reason) for source, reason, _ in collector.skipped]
    return dataset


def prepare_store(
    folder: str | Path,
    sources: Sequence[Source],
    preprocessing: Preprocessing,
    *,
    levels: Sequence[str],
    target: str | None = None,
    n_jobs: int = 1,
    progress: bool = True,
) -> WindowDataset:
    """Make a store of all sources, or add those to it that it does not hold.

    Recordings that cannot be used are left out and tried again by the next call. A call that was stopped is gone on
    with by the next one. Recordings of the store that are no longer among the sources stay in it, which is logged.

    Parameters
    ----------
    folder : str or Path
        The store.
    sources, preprocessing, levels, target, n_jobs, progress
        As in :func:`prepare`.

    Returns
    -------
    WindowDataset
        All windows of the store. ``skipped`` lists (source, reason) of the sources given that were left out.

    Raises
    ------
    DataError
        When a recording of the store has changed, the store was made in another way, or scales by id and is finished;
        when no recording can be used; when the disk is full, behind which the next call goes on.
    ConfigError
        When ``scale_by`` is no level, or a function of the preprocessing cannot be part of a key.
    """
    levels = tuple(levels)
    _check(sources, preprocessing, levels, "skip")
    keys = source_keys(sources, progress)
    with StoreWriter(folder, levels, recipe=recipe_key(preprocessing, levels), target=target) as writer:
        _check_changes(writer, sources, keys)
        _fill(writer, sources, keys, preprocessing, n_jobs, "skip", progress)
    return _opened(WindowStore(folder), target, keys)


def _opened(store: WindowStore, target: str | None, keys: Sequence[str] | None = None) -> WindowDataset:
    dataset = WindowDataset.from_store(store).with_target(target)
    dataset.skipped = store.left_out(keys)
    return dataset


def recipe_key(preprocessing: Preprocessing, levels: Sequence[str]) -> str:
    """Return the key of the way from recordings to windows, of which a store has one.

    Parameters
    ----------
    preprocessing : Preprocessing
    levels : sequence of str

    Returns
    -------
    str
        SHA-256 of both and of the version of this code, in hexadecimal digits.

    Raises
    ------
    ConfigError
        When a function of the preprocessing has no name of its own.
    """
    return set_key((), (), preprocessing, tuple(levels), CACHE_VERSION, FORMAT_VERSION)


def _check(sources: Sequence[Source], preprocessing: Preprocessing, levels: tuple[str, ...], on_error: str) -> None:
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"on_error={on_error!r}: choose 'raise' or 'skip'.")
    if preprocessing.scale_by is not None and preprocessing.scale_by not in levels:
        raise ConfigError(f"scale_by={preprocessing.scale_by!r} is no level: choose one of {list(levels)}.")
    if not sources:
        raise DataError("there is nothing to prepare: the list of sources is empty.")


def _check_some(some: bool, skipped: Sequence[tuple[Any, ...]], n_sources: int) -> None:
    if skipped:
        logger.warning("%d recordings left out, the first: %s", len(skipped), skipped[0][1])
    if not some:
        reason = skipped[0][1] if skipped else "they hold none."
        raise DataError(f"no recording of {n_sources} sources could be used; the first reason: {reason}")


def _cached(
    sources: Sequence[Source],
    preprocessing: Preprocessing,
    levels: tuple[str, ...],
    cache: Path,
    n_jobs: int,
    on_error: str,
    progress: bool,
) -> WindowStore:
    """Return the set from the cache, where it is made first if it is not there."""
    recipe = recipe_key(preprocessing, levels)
    keys = source_keys(sources, progress)
    key = set_key(sources, keys, recipe)[:32]
    final, hidden = cache / key, cache / f".{key}.partial"
    if not final.is_dir():
        with StoreWriter(hidden, levels, recipe=recipe) as writer:
            if final.is_dir():
                writer.discard()
            else:
                try:
                    _fill(writer, sources, keys, preprocessing, n_jobs, on_error, progress)
                except TsclError:
                    if not writer.broken:
                        writer.discard()
                    raise
                hidden.rename(final)
    store = WindowStore(final)
    failed = store.left_out(failed=True)
    if on_error == "raise" and failed:
        raise DataError(failed[0][1])
    return store


def _fill(
    writer: StoreWriter,
    sources: Sequence[Source],
    keys: Sequence[str],
    preprocessing: Preprocessing,
    n_jobs: int,
    on_error: str,
    progress: bool,
) -> None:
    """Append the sources that the store does not hold, then scale where the recipe says so."""
    scaled = writer.info is not None and writer.info.scaled
    done = writer.keys(failed=scaled)
    chosen = [source for source, key in zip(sources, keys, strict=True) if key not in done]
    todo = [key for key in keys if key not in done]
    del done
    if todo and scaled:
        raise DataError(
            f"{writer.folder}: its windows were scaled by {preprocessing.scale_by} when it was finished, and "
            f"{len(todo)} recordings are new: prepare all of them into a new store."
        )
    collector = Collector(writer, writer.levels, on_error)
    if writer.info is not None:
        collector.go_on(writer.info.channels, writer.sources)
    results = stream(chosen, preprocessing, n_jobs, on_error, progress, already=len(sources) - len(todo))
    for source, key, (windows, left_out) in zip(chosen, todo, results, strict=True):
        collector.take(windows, left_out, key, source.path)
    _check_some(writer.n_windows > 0, collector.skipped, len(sources))
    writer.commit()
    if preprocessing.scale_by is not None and not scaled:
        codes = WindowDataset.from_store(WindowStore(writer.folder)).codes(preprocessing.scale_by)
        writer.rewrite(partial(scale_within, codes=codes), unit="a.u.")
    writer.merge()


def _check_changes(writer: StoreWriter, sources: Sequence[Source], keys: Sequence[str]) -> None:
    """Refuse recordings that are in the store with another content, and say which of it are no longer there."""
    rows = {row["key"]: row["source"] for row in writer.sources if row["n_windows"]}
    known = set(rows.values())
    changed = [s.path for s, key in zip(sources, keys, strict=True) if key not in rows and s.path in known]
    if changed:
        raise DataError(
            f"{_some(changed)} changed (content, ids, labels or reader) since {writer.folder} was made: prepare all "
            "recordings into a new store."
        )
    gone = sorted(rows[key] for key in rows.keys() - set(keys))
    if gone:
        logger.warning("%s stays in %s although it is no longer among the recordings.", _some(gone), writer.folder)


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(paths[:NAMED]) + more
