"""The forecasting sets known by name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tscl.data.series.parts import RATIOS

HOURLY = (24, 48, 168, 336, 720)
QUARTER_HOURLY = (24, 48, 96, 288, 672)

ETT = "https://github.com/zhouhaoyi/ETDataset"
INFORMER = "https://github.com/zhouhaoyi/Informer2020"
ETT_LICENCE = "CC BY-ND 4.0"


@dataclass(frozen=True)
class SeriesSpec:
    """How the literature uses a series.

    Attributes
    ----------
    name : str
        Its name here.
    title : str
        What it is, in a line.
    files : tuple of str
        Names that its file goes by; case does not matter.
    target : str
        Column of the univariate task.
    split : str
        Scheme of its parts, see :func:`parts_of`.
    horizons : tuple of int
        In steps.
    page : str
        Where its file is to be had.
    licence : str
    """

    name: str
    title: str
    files: tuple[str, ...]
    target: str
    split: str
    horizons: tuple[int, ...]
    page: str
    licence: str


def _ett(name: str, title: str, horizons: tuple[int, ...]) -> SeriesSpec:
    file = f"ETT{name[3:]}.csv"
    return SeriesSpec(name, title, (file,), "OT", "ett", horizons, ETT, ETT_LICENCE)


SERIES: dict[str, SeriesSpec] = {
    spec.name: spec
    for spec in (
        _ett("etth1", "Electricity transformer temperature, station 1, hourly, 7 variables", HOURLY),
        _ett("etth2", "Electricity transformer temperature, station 2, hourly, 7 variables", HOURLY),
        _ett("ettm1", "Electricity transformer temperature, station 1, every 15 minutes, 7 variables", QUARTER_HOURLY),
        SeriesSpec(
            "electricity",
            "Electricity consumption of 321 clients, hourly",
            ("ECL.csv", "electricity.csv"),
            "MT_001",
            RATIOS,
            HOURLY[:4],
            INFORMER,
            "CC BY 4.0",
        ),
        SeriesSpec(
            "weather",
            "Weather at a station of NOAA, hourly, 12 variables",
            ("WTH.csv",),
            "WetBulbCelsius",
            RATIOS,
            HOURLY,
            INFORMER,
            "public domain",
        ),
    )
}
"""Every named series by its name."""


def recognise(file: str | Path) -> SeriesSpec | None:
    """Return the named series that goes by the name of ``file``, or None."""
    name = Path(file).name.lower()
    return next((spec for spec in SERIES.values() if name in (one.lower() for one in spec.files)), None)


def find_series(name: str, root: str | Path | None = None) -> Path | None:
    """Look for the file of a named series.

    Parameters
    ----------
    name : str
        One of :data:`SERIES`.
    root : str or Path, optional
        The folder of the file, or one above; the folder that the environment variable ``TSCL_DATA`` names by default.

    Returns
    -------
    Path or None
        The file, None when it is not there.
    """
    root = root or os.environ.get("TSCL_DATA")
    if root is None:
        return None
    folder = Path(root)
    for pattern in ("*.csv", "*/*.csv"):
        for path in sorted(folder.glob(pattern)):
            found = recognise(path)
            if found is not None and found.name == name:
                return path
    return None
