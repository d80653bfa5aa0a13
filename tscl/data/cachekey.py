"""The key of a prepared data set: what its files hold and everything that was asked to be done with them."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tscl.data.sources import Source
from tscl.errors import ConfigError, DataNotFoundError


def describe(thing: Any) -> str:
    """Write down a parameter so that equal parameters read the same in every process.

    Parameters
    ----------
    thing : Any
        Numbers, strings, arrays, containers, dataclasses, objects, functions of a module and partials of them.

    Returns
    -------
    str

    Raises
    ------
    ConfigError
        For lambdas and functions inside functions, which have no name to tell them apart.
    """
    if isinstance(thing, np.ndarray):
        return f"array({thing.dtype},{thing.shape},{hashlib.sha256(np.ascontiguousarray(thing).tobytes()).hexdigest()})"
    if thing is None or isinstance(thing, (bool, int, float, complex, str, bytes, np.generic)):
        return repr(thing)
    if isinstance(thing, Path):
        return repr(str(thing))
    if isinstance(thing, Mapping):
        return "{" + ",".join(f"{describe(key)}:{describe(value)}" for key, value in thing.items()) + "}"
    if isinstance(thing, (set, frozenset)):
        return "{" + ",".join(sorted(describe(item) for item in thing)) + "}"
    if isinstance(thing, Sequence):
        return "[" + ",".join(describe(item) for item in thing) + "]"
    if isinstance(thing, functools.partial):
        return f"partial({describe(thing.func)},{describe(thing.args)},{describe(thing.keywords)})"
    if inspect.ismethod(thing):
        return f"method({describe(thing.__self__)},{thing.__name__})"
    if inspect.isfunction(thing):
        if "<" in thing.__qualname__:
            raise ConfigError(
                f"{thing.__qualname__} has no name of its own for a cache key: define it at the top of a "
                "module, or set cache=None."
            )
        code = hashlib.sha256(thing.__code__.co_code + repr(thing.__code__.co_names).encode()).hexdigest()
        return f"{thing.__module__}.{thing.__qualname__}:{code}"
    if inspect.isclass(thing) or inspect.isbuiltin(thing):
        return f"{thing.__module__}.{thing.__qualname__}"
    name = f"{type(thing).__module__}.{type(thing).__qualname__}"
    values = {f.name: getattr(thing, f.name) for f in fields(thing)} if is_dataclass(thing) else vars(thing)
    return f"{name}({describe(values)})"


def names_in(folder: Path) -> list[str]:
    """Return the names of all that lies in a folder, sorted; nothing where there is no folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def files_of(path: str, listed: Callable[[Path], list[str]] = names_in) -> list[Path]:
    """Return the files that belong to a record, sorted.

    A folder's are all files in it. A file's are those beside it with the same stem (``.hea``, ``.dat``, annotations,
    ``.vhdr`` and ``.eeg``, ...), further parts of a split FIF file, and the signal and segment
    files that a WFDB header names.

    Parameters
    ----------
    path : str
    listed : callable
        :func:`names_in`, or one that remembers: a folder of many records is then listed once.

    Returns
    -------
    list of Path
    """
    main = Path(path)
    if main.is_dir():
        return sorted(p for p in main.rglob("*") if p.is_file())
    stem = main.name[: -len(main.suffix)] if main.suffix else main.name
    found = {main, *_beside(main, f"{stem}.", listed)}
    if main.suffix == ".fif":
        parts = _beside(main, f"{stem}-", listed)
        found |= {p for p in parts if p.name[len(stem) + 1 : len(stem) + 2].isdigit() and p.suffix == ".fif"}
    for hea in [p for p in found if p.suffix == ".hea"]:
        found |= _named_by_header(hea, listed)
    return sorted(p for p in found if p.is_file())


def _beside(file: Path, start: str, listed: Callable[[Path], list[str]]) -> list[Path]:
    """Return what lies in the folder of a file and has a name that begins so."""
    names = listed(file.parent)
    first, behind = bisect_left(names, start), bisect_left(names, start + chr(sys.maxunicode))
    return [file.parent / name for name in names[first:behind]]


def _named_by_header(hea: Path, listed: Callable[[Path], list[str]]) -> set[Path]:
    if not hea.is_file():
        return set()
    found: set[Path] = set()
    for line in hea.read_text(errors="replace").splitlines()[1:]:
        first = line.split()[0] if line.split() else "#"
        if first.startswith("#") or first == hea.stem:
            continue
        if (hea.parent / first).is_file():
            found.add(hea.parent / first)
        elif (segment := hea.parent / f"{first}.hea").is_file():
            found |= {*_beside(segment, f"{segment.stem}.", listed), *_named_by_header(segment, listed)}
    return found


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content; raises DataNotFoundError where there is none."""
    if not path.is_file():
        raise DataNotFoundError(f"the file {path} does not exist: put it in place.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


AT_ONCE = 256
"""Sources that are handed to the threads at a time."""
FOLDERS = 4
"""So many listings of folders are remembered: sources that follow one another mostly share theirs."""
Contents = list[tuple[str, str]]
"""Name and SHA-256 of every file of a source."""


def _contents_of(sources: Sequence[Source], progress: bool) -> Iterator[Contents]:
    """Hash the files of all sources, several at the same time; nothing for a source without files."""
    from tqdm.auto import tqdm

    listed = functools.lru_cache(FOLDERS)(names_in)

    def one(source: Source) -> Contents:
        return [(path.name, file_hash(path)) for path in files_of(source.path, listed)]

    bar = tqdm(total=len(sources), desc="checksums", unit="file", disable=not progress)
    with bar, ThreadPoolExecutor() as pool:
        for start in range(0, len(sources), AT_ONCE):
            for found in pool.map(one, sources[start : start + AT_ONCE]):
                yield found
                bar.update()


def source_keys(sources: Sequence[Source], progress: bool = False) -> list[str]:
    """Return what every source is recognised by: the SHA-256 of its files' content, ids, labels and reader.

    The folder that the files lie in is not part of it, so a tree can be moved. Of equal sources the second, third, ...
    are numbered.

    Parameters
    ----------
    sources : sequence of Source
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of str

    Raises
    ------
    DataNotFoundError
        When a file vanishes meanwhile.
    """
    seen: Counter[str] = Counter()
    keys = []
    for source, files in zip(sources, _contents_of(sources, progress), strict=True):
        content: Any = files or source.path
        said = describe([content, source.ids, source.labels, source.reader])
        key = hashlib.sha256(said.encode()).hexdigest()[:32]
        keys.append(f"{key}-{seen[key]}" if seen[key] else key)
        seen[key] += 1
    return keys


def set_key(sources: Sequence[Source], keys: Sequence[str], *parameters: Any) -> str:
    """Return the SHA-256 of the paths of all sources, their :func:`source_keys` and the parameters."""
    digest = hashlib.sha256()
    for source, key in zip(sources, keys, strict=True):
        digest.update(describe([source.path, key]).encode())
    digest.update(describe(parameters).encode())
    return digest.hexdigest()


def cache_key(sources: Sequence[Source], *parameters: Any) -> str:
    """Hash the files of all sources and return their :func:`set_key`."""
    return set_key(sources, source_keys(sources), *parameters)
