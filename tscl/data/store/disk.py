"""What the writer of a store asks of the file system: that bytes reach the disk, and that it is the only writer."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tscl.files import atomic_folder

logger = logging.getLogger("tscl")


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def synced_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``folder`` when its files have reached the disk."""
    with atomic_folder(folder) as temporary:
        yield temporary
        for path in temporary.iterdir():
            sync(path)
    sync(folder.parent)


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which is released by the system when the process ends; wait for another holder of it."""
    import fcntl

    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.info("another process writes to %s: waiting for it.", folder)
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                current = os.path.samestat(os.fstat(file.fileno()), (folder / ".lock").stat())
            except FileNotFoundError:
                current = False
            if current:
                yield
                return
