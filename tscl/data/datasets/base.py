"""What every named data set shares: finding its files, loading, counting, downloading, the published split."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tscl.data.datasets.physionet import fetch_all
from tscl.errors import ConfigError, DataNotFoundError

if TYPE_CHECKING:
    from tscl.data.preprocessing import Preprocessing
    from tscl.data.sources import Source
    from tscl.data.splits import Split
    from tscl.data.windows import WindowDataset

log = logging.getLogger(__name__)

ROOT_VARIABLE = "TSCL_DATA"


class Study(ABC):
    """A data set with a name: where its files are, what they mean, how they become windows.

    A new data set is a subclass that sets the class attributes and writes :meth:`sources` and :meth:`preprocessing`.

    Parameters
    ----------
    target : str, optional
        Label column to predict; the study's default otherwise.

    Attributes
    ----------
    name : str
        Short name, also the name of the folder that is looked for.
    title, licence, url, access : str
        What it is, its licence, its page, and one sentence on how to get the files.
    folders : tuple of str
        Further folder names under which the files are often kept.
    patterns : tuple of str
        Glob patterns; a folder that matches one of them holds the data set. None for a simulated set.
    levels : tuple of str
        Levels from coarse to fine.
    target : str or None
        Label column that ``y`` is taken from.
    targets : tuple of str
        Every label column that may be the target; empty when any column may.
    expected : dict of str to int
        Counts of the full public set, such as ``{"patients": 36, "recordings": 72}``.
    published : dict of str to tuple of str, or None
        Patient ids of the published ``"train"``, ``"val"`` and ``"test"`` parts, where they are fixed.
    files_url : str or None
        Folder of the files on PhysioNet, with a ``SHA256SUMS.txt``; None where the source is not open.

    Raises
    ------
    ConfigError
        When the study has no label column ``target``.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    url: ClassVar[str] = ""
    access: ClassVar[str] = ""
    folders: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[tuple[str, ...]] = ()
    published: ClassVar[dict[str, tuple[str, ...]] | None] = None
    files_url: ClassVar[str | None] = None
    patterns: tuple[str, ...] = ()
    levels: tuple[str, ...] = ("patient", "trial")
    target: str | None = None
    expected: dict[str, int] = {}

    def __init__(self, target: str | None = None) -> None:
        if target is not None:
            if self.targets and target not in self.targets:
                raise ConfigError(f"{self.name} has no target {target!r}: choose one of {', '.join(self.targets)}.")
            self.target = target

    def __repr__(self) -> str:
        return f"{type(self).__name__}(target={self.target!r})"

    @abstractmethod
    def sources(self, root: Path) -> list[Source]:
        """List the recordings below ``root`` with the ids and labels that the set's tables give them."""

    @abstractmethod
    def preprocessing(self) -> Preprocessing:
        """Return the study's default way from recordings to windows."""

    def published_patients(self, data: WindowDataset) -> dict[str, list[str]] | None:
        """Return the patients of ``data`` in each published part (``"train"``, ``"val"``, ``"test"``).

        They are ids of its ``subject_level``. None where there is no published split.
        """
        if self.published is None:
            return None
        there = set(data.metadata[data.subject_level].astype(str))
        return {part: [patient for patient in ids if patient in there] for part, ids in self.published.items()}

    def published_split(self, data: WindowDataset) -> Split | None:
        """Return the split that the literature uses, None where there is none or it does not fit ``data``.

        Parameters
        ----------
        data : WindowDataset
            What :meth:`load` returned, or a part of it.

        Returns
        -------
        Split or None
            None, with a logged warning, when a published part has no patient in ``data``.
        """
        parts = self.published_patients(data)
        if parts is None:
            return None
        level = data.subject_level
        patients = data.metadata[level].astype(str)
        empty = [part for part, ids in parts.items() if not patients.isin(ids).any()]
        if empty:
            log.warning(
                "%s: the published split cannot be made, none of its %s ids for %s is among the %d found.",
                self.name,
                level,
                ", ".join(empty),
                patients.nunique(),
            )
            return None
        from tscl.data.splits import Split

        chosen = {part: data.select(patients.isin(ids).to_numpy()) for part, ids in parts.items()}
        return Split(train=chosen["train"], val=chosen.get("val"), test=chosen["test"], by=level)

    def candidates(self, root: str | Path | None = None) -> list[Path]:
        """Return the folders in which the files are looked for, first choice first."""
        given = root if root is not None else os.environ.get(ROOT_VARIABLE) or None
        if given is None:
            return []
        base = Path(given).expanduser()
        below = [base / folder for folder in (self.name, *self.folders)]
        return [base, *below] if root is not None else [*below, base]

    def holds(self, folder: Path) -> bool:
        """Say whether ``folder`` has the files of this data set."""
        return folder.is_dir() and any(next(folder.glob(pattern), None) is not None for pattern in self.patterns)

    def find(self, root: str | Path | None = None) -> Path:
        """Return the folder of the data set.

        Parameters
        ----------
        root : path, optional
            The data set's folder or the one above it; otherwise the environment variable ``TSCL_DATA`` names a folder
            that holds one folder per data set, or the data set itself.

        Raises
        ------
        DataNotFoundError
            Saying what was looked for where, and how to get the files.
        """
        if not self.patterns:
            return Path()
        candidates = self.candidates(root)
        for folder in candidates:
            if self.holds(folder):
                return folder
        if not candidates:
            raise DataNotFoundError(
                f"{self.name}: no folder was given: pass `root` or set {ROOT_VARIABLE} to the folder of your data "
                f"sets. "
                f"{self.access}"
            )
        base = Path(root if root is not None else os.environ[ROOT_VARIABLE]).expanduser()
        wanted = " or ".join(self.patterns)
        state = "does not exist" if not base.is_dir() else "is empty" if not any(base.iterdir()) else f"has no {wanted}"
        raise DataNotFoundError(
            f"{self.name}: {base} {state} (looked for {wanted} there and in {self.name}/). {self.access}"
        )

    def load(
        self,
        root: str | Path | None = None,
        *,
        preprocessing: Preprocessing | None = None,
        cache: str | Path | None = None,
        n_jobs: int = 1,
        on_error: Literal["raise", "skip"] = "raise",
        progress: bool = False,
        download: bool = False,
    ) -> WindowDataset:
        """Read, preprocess and cut the data set.

        Parameters
        ----------
        root : path, optional
            See :meth:`find`.
        preprocessing : Preprocessing, optional
            Another way from recordings to windows than :meth:`preprocessing`.
        cache : path, optional
            Folder in which prepared windows are kept, by content and parameters.
        n_jobs : int, default=1
            Recordings that are read at the same time.
        on_error : {"raise", "skip"}, default="raise"
            Whether an unusable file ends the loading or is left out and listed in ``.skipped``.
        progress : bool, default=False
            Show a progress bar.
        download : bool, default=False
            Fetch missing files first, where the source is open.

        Returns
        -------
        WindowDataset
            Counts that differ from the full public set are logged as a warning.

        Raises
        ------
        DataNotFoundError
            When the files are not found.
        DataError
            When a file cannot be used, or nothing usable is left.
        """
        from tscl.data.prepare import prepare

        if download and self.patterns:
            root = self.download(root)
        data = prepare(
            self.sources(self.find(root)),
            preprocessing or self.preprocessing(),
            levels=self.levels,
            target=self.target,
            cache=cache,
            n_jobs=n_jobs,
            on_error=on_error,
            progress=progress,
        )
        self.check_counts(data, geometry=preprocessing is None)
        return data

    def counts(self, data: WindowDataset) -> dict[str, int]:
        """Return the numbers of patients, recordings, trials and windows in ``data``."""
        found = {f"{level}s": int(data.codes(level).max(initial=-1)) + 1 for level in data.levels}
        found.setdefault("recordings", int(data.metadata["source"].nunique()))
        return {**found, "windows": len(data)}

    def check_counts(self, data: WindowDataset, geometry: bool = True) -> str:
        """Compare ``data`` with the full public set, log and return what differs (empty when nothing does).

        Parameters
        ----------
        data : WindowDataset
            What was loaded.
        geometry : bool, default=True
            Whether trials and windows are cut as the expected counts assume.
        """
        found = self.counts(data)
        keys = [k for k in self.expected if k in found and (geometry or k not in ("trials", "windows"))]
        said = ", ".join(f"{found[k]} of {self.expected[k]} {k}" for k in keys if found[k] != self.expected[k])
        if said:
            log.warning("%s: found %s of the full public set.", self.name, said)
        return said

    def wanted_file(self, path: str) -> bool:
        """Say whether :meth:`download` fetches the file ``path`` of the source's list: all but hidden ones."""
        return not path.startswith(".")

    def download(self, root: str | Path | None = None, n_jobs: int = 4) -> Path:
        """Fetch the files from their open source and verify each against the source's SHA-256 sums.

        Files that are already there with the right sum are not fetched again, so an interrupted download continues.

        Parameters
        ----------
        root : path, optional
            Folder of the data set; ``$TSCL_DATA/<name>`` otherwise.
        n_jobs : int, default=4
            Files fetched at the same time.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        DataNotFoundError
            Where the source is not open, saying what to fetch where, or when the source cannot be reached.
        ConfigError
            When no folder is given.
        """
        if self.files_url is None:
            raise DataNotFoundError(f"{self.name} cannot be downloaded for you. {self.access}")
        if root is None and not os.environ.get(ROOT_VARIABLE):
            raise ConfigError(f"say where {self.name} shall be put: pass `root` or set {ROOT_VARIABLE}.")
        there = [folder for folder in self.candidates(root) if self.holds(folder)]
        new = Path(root).expanduser() if root is not None else Path(os.environ[ROOT_VARIABLE]).expanduser() / self.name
        folder = there[0] if there else new
        fetch_all(self.files_url, folder, self.wanted_file, n_jobs=n_jobs)
        return folder


def natural_order(paths: Iterator[Path]) -> list[Path]:
    """Return the paths in natural order (2 before 10), hidden files left out."""
    import re

    def key(path: Path) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", path.as_posix())
        return [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts]

    return sorted((p for p in paths if not p.name.startswith(".")), key=key)


def yes_no(condition: Any) -> int:
    """Return 1 where ``condition`` holds and 0 where it does not: how binary labels are written."""
    return int(bool(condition))
