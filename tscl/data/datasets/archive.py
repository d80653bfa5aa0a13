"""One set of the UCR or UEA archive: labelled series, parted into training and test by the archive."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from tscl.data.datasets.base import ROOT_VARIABLE, Study
from tscl.data.preprocessing import Preprocessing, Scale
from tscl.data.readers import read_labelled_series
from tscl.data.recording import Channels, Recording
from tscl.data.sources import Source
from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError, DataNotFoundError

SUFFIXES = (".ts", ".arff", ".tsv")
PARTS: tuple[Literal["train", "test"], ...] = ("train", "test")


def read_part(
    path: str,
    *,
    dataset: str,
    part: Literal["train", "test"],
    centre: tuple[float, ...] | None,
    spread: tuple[float, ...] | None,
) -> list[Recording]:
    """Read the training or test series of a set.

    Parameters
    ----------
    path : str
        File of the part, or an ``.npz`` with both.
    dataset : str
        Name of the set, the beginning of every id.
    part : {"train", "test"}
        Which part.
    centre, spread : tuple of C floats, optional
        Subtracted from each channel, and what it is divided by then.

    Returns
    -------
    list of Recording
        One a series, with the id ``series`` (``"GunPoint/train/0007"``) and the label columns ``class`` and ``part``.

    Raises
    ------
    DataError
        When the file cannot be used, or has another number of channels than ``centre``.
    """
    series, labels = _read(Path(path), part)
    n_channels = len(series[0])
    if centre is not None and spread is not None:
        if len(centre) != n_channels:
            raise DataError(f"{path}: its series have {n_channels} channels, the training series {len(centre)}.")
        series = [(one - np.array(centre)[:, None]) / np.array(spread)[:, None] for one in series]
    channels = Channels(tuple(f"ch{i}" for i in range(n_channels)), ("misc",) * n_channels, "a.u.", 1.0)
    digits = max(4, len(str(len(series) - 1)))
    found = []
    for number, (one, label) in enumerate(zip(series, labels, strict=True)):
        place = f"{part}/{number:0{digits}d}"
        ids = {"series": f"{dataset}/{place}"}
        found.append(Recording(one, channels, ids, {"class": label, "part": part}, source=f"{path}:{place}"))
    return found


def channel_moments(series: Sequence[np.ndarray]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of every channel over all values of all series; 1 for a constant channel.

    Parameters
    ----------
    series : sequence of ndarray, each of shape (C, T_i)
        NaN does not count; a channel without any value has mean 0.

    Returns
    -------
    centre, spread : tuple of C floats
    """
    values = np.concatenate(series, axis=1).astype(np.float64)
    known = ~np.isnan(values)
    count = np.maximum(known.sum(axis=1), 1)
    centre = np.where(known, values, 0.0).sum(axis=1) / count
    spread = np.sqrt(np.where(known, (values - centre[:, None]) ** 2, 0.0).sum(axis=1) / count)
    spread = np.where(spread > np.finfo(np.float32).eps * np.abs(centre), spread, 1.0)
    return tuple(centre.tolist()), tuple(spread.tolist())


class Archive(Study):
    """One set of the UCR archive (Dau et al. 2019) or the UEA archive (Bagnall et al. 2018), by its name.

    Read from ``NAME.npz`` with ``X_train``, ``y_train``, ``X_test``, ``y_test``, or from ``NAME_TRAIN`` and
    ``NAME_TEST`` as ``.ts``, ``.arff`` or ``.tsv``, in the root or in a folder ``NAME`` below it. Every series is one
    window with an id of its own (level ``series``), on the side of the split that the archive puts it; there is no
    validation side. Shorter series are padded with NaN at the end; classes are text.

    Parameters
    ----------
    name : str, default="GunPoint"
        Name of the set in the archive.
    scale : {"train", "series"} or None, default="train"
        ``"train"``: each channel by its mean and standard deviation over all training series, as TS2Vec does; it keeps
        differences in level between series, and leaves most UCR sets, whose series come standardised, as they are.
        ``"series"``: each channel of each series by its own. None: as the files have it.
    target : str, default="class"
        The class.

    Raises
    ------
    ConfigError
        When the name cannot be one, or the scale is unknown.

    Examples
    --------
    >>> study = Archive("GunPoint")  # doctest: +SKIP
    >>> split = study.published_split(study.load("ucr"))  # doctest: +SKIP
    """

    name: ClassVar[str] = "archive"
    title: ClassVar[str] = "One set of the UCR or UEA archive of time series classification, by its name"
    licence: ClassVar[str] = "as each set's source grants it; cite the archive"
    url: ClassVar[str] = "https://www.timeseriesclassification.com"
    access: ClassVar[str] = (
        f"Fetch the set from {url}, or load with download=True, which asks sktime to fetch it (no check sums are "
        "published)."
    )
    folders: ClassVar[tuple[str, ...]] = (
        "ucr",
        "uea",
        "uea_eeg",
        "Univariate_ts",
        "Multivariate_ts",
        "Univariate_arff",
        "Multivariate_arff",
        "UCRArchive_2018",
    )
    targets: ClassVar[tuple[str, ...]] = ("class",)
    levels = ("series",)
    target = "class"

    def __init__(
        self,
        name: str = "GunPoint",
        scale: Literal["train", "series"] | None = "train",
        target: str | None = None,
    ) -> None:
        super().__init__(target)
        if not re.fullmatch(r"[\w.-]+", name):
            raise ConfigError(f"archive: {name!r} is no name of a set: give one such as 'GunPoint'.")
        if scale not in ("train", "series", None):
            raise ConfigError(f"archive: scale={scale!r} must be 'train', 'series' or None.")
        self.dataset, self.scale = name, scale
        self.patterns = (f"{name}.npz", *(f"{name}_TRAIN{suffix}" for suffix in SUFFIXES))

    def __repr__(self) -> str:
        return f"Archive(name={self.dataset!r}, scale={self.scale!r}, target={self.target!r})"

    def candidates(self, root: str | Path | None = None) -> list[Path]:
        """Return the folders in which the files are looked for; each may have one with the set's name."""
        return [folder for base in super().candidates(root) for folder in (base, base / self.dataset)]

    def files(self, root: Path) -> dict[Literal["train", "test"], Path]:
        """Return the file of each part; both are the same where an ``.npz`` holds them.

        Raises
        ------
        DataNotFoundError
            When the test file is missing beside the training file.
        """
        whole = root / f"{self.dataset}.npz"
        if whole.is_file():
            return dict.fromkeys(PARTS, whole)
        suffix = next(suffix for suffix in SUFFIXES if (root / f"{self.dataset}_TRAIN{suffix}").is_file())
        found = {part: root / f"{self.dataset}_{part.upper()}{suffix}" for part in PARTS}
        if not found["test"].is_file():
            raise DataNotFoundError(f"{found['test']} does not exist: fetch it too, beside {found['train'].name}.")
        return found

    def sources(self, root: Path) -> list[Source]:
        """One source a part."""
        files = self.files(root)
        centre = spread = None
        if self.scale == "train":
            centre, spread = channel_moments(_read(files["train"], "train")[0])
        return [
            Source(str(path), reader=partial(read_part, dataset=self.dataset, part=part, centre=centre, spread=spread))
            for part, path in files.items()
        ]

    def preprocessing(self) -> Preprocessing:
        """A series is one window."""
        return Preprocessing(trial_steps=[Scale("standard")] if self.scale == "series" else [])

    def published_patients(self, data: WindowDataset) -> dict[str, list[str]]:
        """Return the series of ``data`` that the archive gives for training and for testing."""
        series, part = data.metadata["series"].astype(str), data.metadata["part"]
        return {name: series[part == name].tolist() for name in PARTS}

    def download(self, root: str | Path | None = None, n_jobs: int = 1) -> Path:
        """Let sktime fetch the ``.ts`` files of the set from the archive, unless they are there.

        Parameters
        ----------
        root : path, optional
            Folder of the archive's sets; ``$TSCL_DATA/archive`` otherwise.
        n_jobs : int
            Not used: it is one file.

        Returns
        -------
        Path
            The folder of the set.

        Raises
        ------
        DataNotFoundError
            When the archive cannot be reached or has no set of this name.
        ConfigError
            When no folder is given.
        """
        if root is None and not os.environ.get(ROOT_VARIABLE):
            raise ConfigError(f"say where {self.dataset} shall be put: pass `root` or set {ROOT_VARIABLE}.")
        for folder in self.candidates(root):
            if self.holds(folder):
                return folder
        from sktime.datasets import load_UCR_UEA_dataset

        base = Path(root) if root is not None else Path(os.environ[ROOT_VARIABLE]) / self.name
        base.expanduser().mkdir(parents=True, exist_ok=True)
        try:
            load_UCR_UEA_dataset(self.dataset, split="train", extract_path=str(base.expanduser()))
        except Exception as error:
            said = " ".join(str(error).split())[:200]
            raise DataNotFoundError(
                f"{self.dataset} could not be fetched ({type(error).__name__}: {said}): check its name and the "
                f"network, or fetch it from {self.url} into {base}."
            ) from error
        return self.find(base)


def _read(path: Path, part: Literal["train", "test"]) -> tuple[list[np.ndarray], list[str]]:
    return read_labelled_series(path, part if path.suffix.lower() == ".npz" else None)
