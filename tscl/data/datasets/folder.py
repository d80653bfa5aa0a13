"""Any folder of recordings: patients by folder or by a pattern in the name, labels from a table."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd

from tscl.data.datasets.base import Study, natural_order
from tscl.data.preprocessing import (
    BandPass,
    FixedTrials,
    PickChannels,
    Preprocessing,
    Resample,
    Scale,
    SlidingWindows,
    WholeRecording,
)
from tscl.data.sources import Source
from tscl.errors import ConfigError, DataError, DataNotFoundError

log = logging.getLogger(__name__)

SUFFIXES = (
    ".edf",
    ".bdf",
    ".gdf",
    ".fif",
    ".fif.gz",
    ".vhdr",
    ".set",
    ".cnt",
    ".hea",
    ".npz",
    ".sqd",
    ".con",
    ".ds",
    ".mff",
    ".nxe",
)


def read_labels(path: Path, key: str | None) -> dict[str, dict[str, Any]]:
    """Read a table of labels, ``.csv`` or ``.tsv``.

    Parameters
    ----------
    path : Path
        The table.
    key : str, optional
        Column with the patient or file names; the first column otherwise.

    Returns
    -------
    dict
        Row of labels by key; an empty cell or ``n/a`` is None.

    Raises
    ------
    DataNotFoundError
        When there is no such file.
    DataError
        When it cannot be read, lacks the column, or a key stands in two rows.
    """
    if not path.is_file():
        raise DataNotFoundError(f"{path} does not exist: name the table of labels, or leave it out.")
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        header = pd.read_csv(path, sep=separator, nrows=0).columns
        if key is not None and key not in header:
            raise DataError(
                f"{path} has no column {key!r}, it has {list(header)}: choose the one with patient or file names."
            )
        table = pd.read_csv(path, sep=separator, dtype={key or header[0]: str}, na_values=["n/a"])
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} cannot be read as a table ({error}): save it as .csv or .tsv.") from error
    key = key or str(header[0])
    names = table[key].str.strip()
    if names.duplicated().any():
        raise DataError(
            f"{path} has several rows with {key} = {names[names.duplicated()].iloc[0]!r}: keep one row each."
        )
    rows = table.drop(columns=key).astype(object).to_dict("records")
    clean = [
        {str(k): None if pd.isna(v) else getattr(v, "item", lambda v=v: v)() for k, v in row.items()} for row in rows
    ]
    return dict(zip(names, clean, strict=True))


class OpenStudy(Study):
    """Base of the data sets that are whatever the user has: preprocessing by a few settings.

    Parameters
    ----------
    target : str, optional
        Label column; none by default (pretraining needs none).
    channels : sequence of str, optional
        Channels to keep, in this order; all otherwise.
    types : sequence of str, optional
        MNE channel types to keep, such as ``["eeg"]``, instead of names.
    low, high : float, optional
        Edges of a band-pass filter, Hz.
    sfreq : float, optional
        Sampling rate to bring every file to, Hz.
    trial_seconds : float, optional
        Length of a trial, s; a whole recording is one trial otherwise.
    seconds : float, default=1
        Length of a window, s.
    overlap : float, default=0.5
        Part of a window that the next one repeats.
    scale : {"standard", "robust"} or None, default="standard"
        How each trial is scaled.
    """

    levels: tuple[str, ...] = ("patient", "recording", "trial")

    def __init__(
        self,
        *,
        target: str | None = None,
        channels: Sequence[str] | None = None,
        types: Sequence[str] | None = None,
        low: float | None = None,
        high: float | None = None,
        sfreq: float | None = None,
        trial_seconds: float | None = None,
        seconds: float = 1.0,
        overlap: float = 0.5,
        scale: Literal["standard", "robust"] | None = "standard",
    ) -> None:
        super().__init__(target)
        if scale not in ("standard", "robust", None):
            raise ConfigError(f"{self.name}: scale={scale!r} must be 'standard', 'robust' or None.")
        if channels is not None and types is not None:
            raise ConfigError(f"{self.name}: give channels or types, not both.")
        self.channels, self.types, self.low, self.high, self.sfreq = channels, types, low, high, sfreq
        self.trial_seconds, self.seconds, self.overlap, self.scale = trial_seconds, seconds, overlap, scale

    def __repr__(self) -> str:
        said = ", ".join(f"{key}={value!r}" for key, value in vars(self).items() if not key.startswith("_"))
        return f"{type(self).__name__}({said})"

    def candidates(self, root: str | Path | None = None) -> list[Path]:
        """Return the folder that is given: there is no name to look for."""
        return [Path(root).expanduser()] if root is not None else []

    def preprocessing(self) -> Preprocessing:
        """Return what the settings say."""
        steps: list[Any] = []
        if self.channels is not None or self.types is not None:
            steps.append(PickChannels(names=self.channels, types=self.types))
        if self.low is not None or self.high is not None:
            steps.append(BandPass(self.low, self.high))
        if self.sfreq is not None:
            steps.append(Resample(self.sfreq))
        return Preprocessing(
            steps=steps,
            trials=WholeRecording() if self.trial_seconds is None else FixedTrials(self.trial_seconds),
            trial_steps=[] if self.scale is None else [Scale(self.scale)],
            windows=SlidingWindows(self.seconds, overlap=self.overlap),
        )

    def complete(self, sources: list[Source], columns: set[str], table: str) -> list[Source]:
        """Return the sources, each with every label column; one that a patient lacks is None and counted in a warning.

        Raises
        ------
        DataError
            When no source has the target.
        """
        columns = columns | ({self.target} if self.target else set())
        full = [Source(s.path, s.ids, {**dict.fromkeys(sorted(columns)), **s.labels}, s.reader) for s in sources]
        if self.target:
            without = {s.ids["patient"] for s in full if s.labels[self.target] is None}
            if all(s.labels[self.target] is None for s in full):
                raise DataError(
                    f"{table} has no {self.target!r} for any of the {len(full)} recordings: check target and key."
                )
            if without:
                log.warning(
                    "%s: %d of %d patients have no %r and serve pretraining only: %s%s",
                    self.name,
                    len(without),
                    len({s.ids["patient"] for s in full}),
                    self.target,
                    ", ".join(sorted(without)[:5]),
                    ", ..." if len(without) > 5 else "",
                )
        return full


class Folder(OpenStudy):
    r"""Any folder of recordings in a format that :func:`tscl.data.readers.read` opens.

    Parameters
    ----------
    pattern : str, optional
        Glob pattern of the files below the root, such as ``"**/*.edf"``; every known suffix otherwise.
    patient : str, default="parent"
        Whose recording a file is: ``"parent"``, the name of the folder it lies in; ``"file"``, its own name; or a
        regular expression with a group ``patient``, searched in the path below the root with forward slashes, such as
        ``r"(?P<patient>S\d+)_(?P<session>\d)"``. Further groups become label columns.
    participants : str, optional
        Table with labels, ``.csv`` or ``.tsv``, below the root or anywhere.
    key : str, optional
        Its column that holds the patient, or the file's name with or without suffix; the first column otherwise.
    **recipe
        Target and preprocessing: see :class:`OpenStudy`.

    Raises
    ------
    ConfigError
        When the regular expression is wrong or lacks the group.

    Examples
    --------
    >>> study = Folder(patient=r"(?P<patient>S\d+)_", participants="labels.csv", target="sick", sfreq=100)  # doctest:
    +SKIP
    >>> data = study.load("recordings", n_jobs=4)  # doctest: +SKIP
    """

    name: ClassVar[str] = "folder"
    title: ClassVar[str] = "Any folder of recordings (EDF, BDF, GDF, FIF, BrainVision, WFDB, npz, ...)"
    licence: ClassVar[str] = "yours"
    access: ClassVar[str] = "Pass the folder of your recordings as root; `pattern` says which files."

    def __init__(
        self,
        pattern: str | None = None,
        patient: str = "parent",
        participants: str | None = None,
        key: str | None = None,
        **recipe: Any,
    ) -> None:
        super().__init__(**recipe)
        if patient not in ("parent", "file"):
            try:
                groups = re.compile(patient).groupindex
            except re.error as error:
                raise ConfigError(f"folder: patient={patient!r} is no regular expression ({error}).") from error
            if "patient" not in groups:
                raise ConfigError(
                    f"folder: patient={patient!r} must be 'parent', 'file' or have a group (?P<patient>...)."
                )
        if self.target and participants is None and f"(?P<{self.target}>" not in patient:
            raise ConfigError(f"folder: target={self.target!r} needs a table of labels: give `participants`.")
        self.pattern, self.patient, self.participants, self.key = pattern, patient, participants, key
        self.patterns = (pattern,) if pattern else tuple(f"**/*{suffix}" for suffix in SUFFIXES)

    def sources(self, root: Path) -> list[Source]:
        """One source a file.

        Raises
        ------
        DataError
            When a file's patient cannot be told, or the table fits no file.
        """
        table: dict[str, dict[str, Any]] = {}
        if self.participants is not None:
            table = read_labels(root / Path(self.participants).expanduser(), self.key)
        used, sources = set(), []
        for path in self._files(root):
            patient, more = self._whose(path, root)
            names = (patient, path.name, path.name.split(".")[0], path.relative_to(root).as_posix())
            row = next((name for name in names if name in table), None)
            used.add(row)
            recording = path.relative_to(root).with_suffix("").as_posix()
            labels = {**more, **(table[row] if row is not None else {})}
            sources.append(Source(str(path), {"patient": patient, "recording": recording}, labels))
        if table and used == {None}:
            raise DataError(
                f"{self.participants}: none of its keys ({', '.join(list(table)[:3])}, ...) is a patient or file "
                f"name, such as "
                f"{sources[0].ids['patient']!r} or {Path(sources[0].path).name!r}: choose another `key` or `patient`."
            )
        columns = {column for labels in table.values() for column in labels}
        return self.complete(sources, columns, str(self.participants))

    def _files(self, root: Path) -> list[Path]:
        found = {path for pattern in self.patterns for path in root.glob(pattern)}
        tables = {(root / self.participants).resolve()} if self.participants else set()
        inside = {path for path in found if any(parent.suffix in (".ds", ".mff") for parent in path.parents)}
        return natural_order(path for path in found - inside if path.resolve() not in tables)

    def _whose(self, path: Path, root: Path) -> tuple[str, dict[str, str]]:
        below = path.relative_to(root)
        if self.patient == "file":
            return path.name.split(".")[0], {}
        if self.patient == "parent":
            if below.parent == Path():
                raise DataError(
                    f"{path} lies in no patient's folder: give patient='file' or a regular expression with a group "
                    "(?P<patient>...) that finds the patient in the name."
                )
            return below.parent.as_posix(), {}
        match = re.search(self.patient, below.as_posix())
        if match is None:
            raise DataError(
                f"{path}: the regular expression {self.patient!r} finds no patient in {below.as_posix()!r}."
            )
        groups = match.groupdict()
        return str(groups.pop("patient")), {name: value for name, value in groups.items() if value is not None}
