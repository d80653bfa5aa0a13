"""The key of a prepared data set: what its files hold and everything that was asked to be done with them."""

from __future__ import annotations

import functools
import glob
import hashlib
import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
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


def files_of(path: str) -> list[Path]:
    """Return the files that belong to a record, sorted.

    A folder's are all files in it. A file's are those beside it with the same stem (``.hea``, ``.dat``, annotations,
    ``.vhdr`` and ``.eeg``, ...), further parts of a split FIF file, and the signal and segment
    files that a WFDB header names.
    """
    main = Path(path)
    if main.is_dir():
        return sorted(p for p in main.rglob("*") if p.is_file())
    if not main.parent.is_dir():
        return []
    stem = main.name[: -len(main.suffix)] if main.suffix else main.name
    found = set(main.parent.glob(glob.escape(stem) + ".*")) | {main}
    if main.suffix == ".fif":
        found |= set(main.parent.glob(glob.escape(stem) + "-[0-9]*.fif"))
    for hea in [p for p in found if p.suffix == ".hea"]:
        found |= _named_by_header(hea)
    return sorted(p for p in found if p.is_file())


def _named_by_header(hea: Path) -> set[Path]:
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
            found |= {*hea.parent.glob(glob.escape(first) + ".*"), *_named_by_header(segment)}
    return found


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content; raises DataNotFoundError where there is none."""
    if not path.is_file():
        raise DataNotFoundError(f"the file {path} does not exist: put it in place.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


AT_ONCE = 256
"""Sources that are handed to the threads at a time."""
Contents = list[tuple[str, str]]
"""Name and SHA-256 of every file of a source."""


def contents_of(sources: Sequence[Source], progress: bool = False) -> list[Contents]:
    """Hash the files of all sources, several at the same time.

    Parameters
    ----------
    sources : sequence of Source
    progress : bool
        Show a progress bar.

    Returns
    -------
    list of list of (str, str)
        For every source the names of its files and their SHA-256; nothing for a source without files.

    Raises
    ------
    DataNotFoundError
        When a file vanishes meanwhile.
    """
    from tqdm.auto import tqdm

    def one(source: Source) -> Contents:
        return [(path.name, file_hash(path)) for path in files_of(source.path)]

    contents: list[Contents] = []
    bar = tqdm(total=len(sources), desc="checksums", unit="file", disable=not progress)
    with bar, ThreadPoolExecutor() as pool:
        for start in range(0, len(sources), AT_ONCE):
            for found in pool.map(one, sources[start : start + AT_ONCE]):
                contents.append(found)
                bar.update()
    return contents


def source_keys(sources: Sequence[Source], contents: Sequence[Contents]) -> list[str]:
    """Return what every source is recognised by: the SHA-256 of its files' content, ids, labels and reader.

    The folder that the files lie in is not part of it, so a tree can be moved. Of equal sources the second, third, ...
    are numbered.
    """
    seen: Counter[str] = Counter()
    keys = []
    for source, files in zip(sources, contents, strict=True):
        content: Any = files or source.path
        said = describe([content, source.ids, source.labels, source.reader])
        key = hashlib.sha256(said.encode()).hexdigest()[:32]
        keys.append(f"{key}-{seen[key]}" if seen[key] else key)
        seen[key] += 1
    return keys


def set_key(sources: Sequence[Source], contents: Sequence[Contents], *parameters: Any) -> str:
    """Return the SHA-256 of the contents of all files, the description of the sources and the parameters."""
    digest = hashlib.sha256()
    for source, files in zip(sources, contents, strict=True):
        digest.update(describe(source).encode())
        for name, sha in files:
            digest.update(f"\n{name} ".encode() + bytes.fromhex(sha))
    digest.update(describe(parameters).encode())
    return digest.hexdigest()


def cache_key(sources: Sequence[Source], *parameters: Any) -> str:
    """Hash the files of all sources and return their :func:`set_key`."""
    return set_key(sources, contents_of(sources), *parameters)
