"""Writing that is all or nothing, also when the process is killed or two of them write the same thing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tscl.errors import DataError


@contextmanager
def atomic_folder(folder: str | Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``folder`` when the block ends well and vanishes when it does not.

    Where another process finished the same folder first, its result stays and ours is dropped.

    Raises
    ------
    DataError
        When the disk is full or the place cannot be written; nothing is left behind.
    """
    folder = Path(folder)
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        yield temporary
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        reason = error.strerror or error
        raise DataError(f"{folder} could not be written ({reason}): free space or choose another place.") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` when the block ends well and vanishes when it does not.

    Raises
    ------
    DataError
        When the disk is full or the place cannot be written; an older file at ``path`` stays as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        reason = error.strerror or error
        raise DataError(f"{path} could not be written ({reason}): free space or choose another place.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
