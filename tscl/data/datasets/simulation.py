"""What the simulated cohorts share: who is ill, noise with a spectrum, and windows without any file."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tscl.data.datasets.base import Study
from tscl.data.recording import Channels, Recording
from tscl.errors import ConfigError

if TYPE_CHECKING:
    from tscl.data.preprocessing import Preprocessing
    from tscl.data.sources import Source


def coloured_noise(
    rng: np.random.Generator, shape: tuple[int, ...], sfreq: float, low: float, high: float, size: float
) -> np.ndarray:
    """Return Gaussian noise within a band.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    shape : tuple of int
        Shape of the result, time last.
    sfreq, low, high : float
        Sampling rate and edges of the band, Hz.
    size : float
        Standard deviation.

    Returns
    -------
    ndarray, float64
    """
    n = max(4 * shape[-1], int(np.ceil(4 * sfreq / max(high - low, 1e-3))))
    frequency = np.fft.rfftfreq(n, 1 / sfreq)
    inside = np.flatnonzero((frequency >= low) & (frequency <= high))
    spectrum = np.zeros((*shape[:-1], len(frequency)), dtype=complex)
    spectrum[..., inside] = rng.normal(size=(*shape[:-1], len(inside))) + 1j * rng.normal(
        size=(*shape[:-1], len(inside))
    )
    return size * np.fft.irfft(spectrum, n)[..., : shape[-1]] * n / (2 * np.sqrt(len(inside)))


def simulated_recordings(_path: str, study: SimulatedStudy) -> list[Recording]:
    """Return the recordings of a simulated cohort: the reader of its only source."""
    return study.recordings()


class SimulatedStudy(Study):
    """Base of the simulated cohorts: patients, half of them ill, with trials cut into half-overlapping windows.

    A subclass names its channels in ``choices`` and writes ``channels`` and :meth:`recordings`.

    Raises
    ------
    ConfigError
        When a number is out of its range or a channel is unknown.
    """

    licence: ClassVar[str] = "MIT (simulated)"
    url: ClassVar[str] = ""
    access: ClassVar[str] = "It is simulated: no files are needed."
    targets: ClassVar[tuple[str, ...]] = ("disease",)
    choices: ClassVar[tuple[str, ...]] = ()
    max_sfreq: ClassVar[float] = np.inf
    target = "disease"

    def __init__(
        self,
        n_patients: int,
        n_trials: int,
        n_windows: int,
        seconds: float,
        sfreq: float,
        names: tuple[str, ...],
        effect: float,
        seed: int,
        target: str | None,
    ) -> None:
        super().__init__(target)
        unknown = [name for name in names if name not in self.choices]
        if unknown or not names or len(set(names)) != len(names):
            raise ConfigError(
                f"{self.name}: channels {list(names)} must be different ones of {', '.join(self.choices)}."
            )
        if n_patients < 2 or n_trials < 1 or n_windows < 1:
            raise ConfigError(
                f"{self.name}: {n_patients} patients, {n_trials} trials, {n_windows} windows: at least 2, 1 and 1 "
                f"are needed."
            )
        if not (0 < sfreq <= self.max_sfreq) or seconds * sfreq < 8:
            raise ConfigError(
                f"{self.name}: windows of {seconds:g} s at {sfreq:g} Hz: at least 8 samples at up to "
                f"{self.max_sfreq:g} Hz."
            )
        self.n_patients, self.n_trials, self.n_windows = n_patients, n_trials, n_windows
        self.seconds, self.sfreq, self.names = float(seconds), float(sfreq), tuple(names)
        self.effect, self.seed = float(effect), int(seed)
        self.expected = {
            "patients": n_patients,
            "trials": n_patients * n_trials,
            "windows": n_patients * n_trials * n_windows,
        }

    def __repr__(self) -> str:
        said = ", ".join(f"{key}={value!r}" for key, value in vars(self).items() if key != "expected")
        return f"{type(self).__name__}({said})"

    @property
    def trial_seconds(self) -> float:
        """Length of a trial, s: room for ``n_windows`` half-overlapping windows."""
        return self.seconds * (self.n_windows + 1) / 2

    @property
    @abstractmethod
    def channels(self) -> Channels:
        """Names, types, unit and sampling rate of the channels."""

    @abstractmethod
    def recordings(self) -> list[Recording]:
        """Return one recording a trial."""

    def draw_disease(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw who is ill (half of the patients) and how severely.

        Returns
        -------
        disease : ndarray, shape (n_patients,), int64
            0 or 1.
        severity : ndarray, shape (n_patients,), float64
            0 in the healthy, between 0.3 and 1 (times ``effect``) in the ill.
        """
        disease = rng.permutation(np.arange(self.n_patients) % 2)
        return disease, self.effect * disease * rng.uniform(0.3, 1.0, self.n_patients)

    def as_recordings(
        self, signal: np.ndarray, disease: np.ndarray, severity: np.ndarray, **columns: np.ndarray
    ) -> list[Recording]:
        """Wrap the trials.

        Parameters
        ----------
        signal : ndarray, shape (n_patients * n_trials, C, T)
            The trials, patient by patient.
        disease, severity : ndarray, shape (n_patients,)
            What :meth:`draw_disease` gave.
        **columns : ndarray, shape (n_patients * n_trials,)
            Further label columns.
        """
        channels, digits = self.channels, len(str(self.n_patients))
        result = []
        for row, data in enumerate(signal):
            who, which = divmod(row, self.n_trials)
            patient = f"P{who + 1:0{digits}d}"
            labels: dict[str, Any] = {"disease": int(disease[who]), "severity": float(severity[who])}
            labels.update({key: float(values[row]) for key, values in columns.items()})
            ids = {"patient": patient, "trial": f"{patient}/{which:03d}"}
            result.append(Recording(data, channels, ids, labels, source=f"{self.name}:{patient}/{which:03d}"))
        return result

    def sources(self, root: Path) -> list[Source]:
        """Return the one source that simulates the cohort."""
        from tscl.data.sources import Source

        return [Source(str(root / f"<{self.name}>"), reader=partial(simulated_recordings, study=self))]

    def preprocessing(self) -> Preprocessing:
        """Every trial standardised, cut into half-overlapping windows."""
        from tscl.data.preprocessing import Preprocessing, Scale, SlidingWindows, WholeRecording

        return Preprocessing(
            trials=WholeRecording(), trial_steps=[Scale("standard")], windows=SlidingWindows(self.seconds, overlap=0.5)
        )
