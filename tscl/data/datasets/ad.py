"""AD: EEG of 23 people with and without Alzheimer's disease, as COMET used it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tscl.data.datasets.base import Study, yes_no
from tscl.data.datasets.comet import is_processed, processed_sources
from tscl.data.preprocessing import Preprocessing, Scale, SlidingWindows, WholeRecording
from tscl.data.recording import Channels, Recording
from tscl.data.sources import Source
from tscl.errors import DataError

ILL = frozenset({1, 3, 6, 8, 9, 11, 12, 13, 15, 17, 19, 21})
PUBLISHED = {
    "train": tuple(str(i) for i in range(1, 24) if i not in (17, 18, 19, 20)),
    "val": ("17", "18"),
    "test": ("19", "20"),
}
N_PEOPLE, N_CHANNELS, N_TIMES, SFREQ = 23, 16, 1280, 256.0


def read_ad_mat(path: str) -> list[Recording]:
    """Read one person's ``.mat``: the structure ``data`` has a cell array of trials, each (16, 1280) at 256 Hz.

    Returns
    -------
    list of Recording
        One a trial, unit ``"uV"``.

    Raises
    ------
    DataError
        When the file is damaged or laid out otherwise.
    """
    from scipy.io import loadmat

    try:
        structure: Any = loadmat(path)["data"]
    except KeyError as error:
        raise DataError(f"{path} has no variable 'data': it is not a file of the AD set.") from error
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path} cannot be read as a .mat file ({type(error).__name__}: {said}): fetch it again."
        ) from error
    if structure.dtype.names is None or structure.size != 1:
        raise DataError(f"{path}: 'data' is no structure with a cell array of trials: it is not a file of the AD set.")
    record = structure.reshape(-1)[0]
    trials: list[np.ndarray] = []
    for name in sorted(structure.dtype.names, key=lambda name: name != "trial"):
        cells = record[name]
        if isinstance(cells, np.ndarray) and cells.dtype == object and cells.size:
            shapes = {np.shape(cell) for cell in cells.ravel()}
            if shapes <= {(N_CHANNELS, N_TIMES)}:
                trials = list(cells.ravel())
                break
    if not trials:
        raise DataError(
            f"{path}: no field of 'data' has trials of shape ({N_CHANNELS}, {N_TIMES}): fetch the original file."
        )
    channels = Channels(tuple(f"EEG{i + 1}" for i in range(N_CHANNELS)), ("eeg",) * N_CHANNELS, "uV", SFREQ)
    stem = Path(path).stem
    return [
        Recording(trial, channels, ids={"trial": f"{stem}/{number:03d}"}, source=path)
        for number, trial in enumerate(trials)
    ]


def numbered(files: list[Path]) -> dict[int, Path]:
    """Number the people's files from 1 as the authors did: by name, in plain alphabetical order.

    With fewer than 23 files the numbers in their names count.

    Raises
    ------
    DataError
        When the number of a person cannot be told.
    """
    files = sorted(files, key=lambda path: path.name)
    if len(files) == N_PEOPLE:
        return dict(enumerate(files, 1))
    numbers = [re.findall(r"\d+", path.stem) for path in files]
    found = {int(digits[-1]): path for digits, path in zip(numbers, files, strict=True) if digits}
    if len(found) != len(files) or not set(found) <= set(range(1, N_PEOPLE + 1)):
        raise DataError(
            f"{files[0].parent} has {len(files)} .mat files and their names give no numbers from 1 to {N_PEOPLE}: "
            f"labels go by a "
            f"person's place among all {N_PEOPLE} files, so fetch them all."
        )
    return dict(sorted(found.items()))


class AD(Study):
    """EEG of 12 people with Alzheimer's disease and 11 healthy ones (Escudero et al. 2006; COMET, appendix C).

    16 channels, 256 Hz, trials of 5 s, standardised, each of nine half-overlapping windows of 1 s. Read from the raw
    files (one ``.mat`` a person) or from the authors' processed layout (``Feature/``, ``Label/``), whichever is
    there.

    Parameters
    ----------
    target : str, default="alzheimer"
        0 or 1.

    Examples
    --------
    >>> study = AD()  # doctest: +SKIP
    >>> split = study.published_split(study.load("AD"))  # doctest: +SKIP
    """

    name: ClassVar[str] = "ad"
    title: ClassVar[str] = "AD: EEG of 23 people, Alzheimer's disease or healthy, 16 channels"
    licence: ClassVar[str] = "as its owners grant it"
    url: ClassVar[str] = "https://github.com/DL4mHealth/COMET"
    access: ClassVar[str] = (
        f"Fetch the 23 .mat files, or the processed Feature/ and Label/ folders, by the links at {url}."
    )
    folders: ClassVar[tuple[str, ...]] = ("AD",)
    patterns = ("Feature/feature_*.npy", "*.mat", "AD_Data/*.mat")
    targets: ClassVar[tuple[str, ...]] = ("alzheimer",)
    published = PUBLISHED
    target = "alzheimer"
    expected = {"patients": 23, "trials": 663, "windows": 5967}

    def sources(self, root: Path) -> list[Source]:
        """One source a person, or one for the processed layout."""
        if is_processed(root):
            names = tuple(f"EEG{i + 1}" for i in range(N_CHANNELS))
            return processed_sources(root, "alzheimer", sfreq=SFREQ, kind="eeg", unit="uV", names=names)
        files = list(root.glob("*.mat")) or list((root / "AD_Data").glob("*.mat"))
        return [
            Source(str(path), {"patient": str(number)}, {"alzheimer": yes_no(number in ILL)}, reader=read_ad_mat)
            for number, path in numbered(files).items()
        ]

    def preprocessing(self) -> Preprocessing:
        """Trials standardised per channel, half-overlapping windows of 1 s."""
        return Preprocessing(
            trials=WholeRecording(), trial_steps=[Scale("standard")], windows=SlidingWindows(1.0, overlap=0.5)
        )
