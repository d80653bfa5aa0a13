"""A simulated EEG cohort: band-limited sources mixed over a montage, and a disease that slows the alpha rhythm."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tscl.data.datasets.simulation import SimulatedStudy
from tscl.data.recording import Channels, Recording

# Left-right, back-front, down-up in mm (head coordinates), of mne's standard 10-20 montage.
POSITIONS = {
    "Fp1": (-31, 115, 28),
    "Fp2": (28, 115, 28),
    "F7": (-72, 73, 26),
    "F3": (-52, 87, 79),
    "Fz": (-1, 93, 103),
    "F4": (50, 87, 77),
    "F8": (71, 75, 25),
    "T7": (-86, 15, 31),
    "C3": (-67, 23, 105),
    "Cz": (-1, 28, 140),
    "C4": (65, 24, 104),
    "T8": (83, 15, 31),
    "P7": (-74, -42, 41),
    "P3": (-55, -44, 100),
    "Pz": (-2, -45, 127),
    "P4": (54, -44, 101),
    "P8": (71, -42, 41),
    "O1": (-32, -81, 55),
    "O2": (28, -80, 55),
}

# Rhythm: centre (Hz), bandwidth (Hz), amplitude (uV), place on the head (mm, as above) of each of its two sources.
RHYTHMS = {
    "theta": (6.0, 0.9, 6.0, ((-20, 90, 100), (20, 95, 95))),
    "alpha": (10.0, 0.7, 11.0, ((-30, -70, 65), (30, -75, 65))),
    "beta": (20.0, 3.5, 3.5, ((-60, 30, 105), (60, 30, 105))),
    "gamma": (36.0, 4.0, 1.5, ((-80, 30, 40), (80, 30, 40))),
}


class SimulatedEEG(SimulatedStudy):
    """Resting electroencephalograms of patients with and without dementia, from band-limited sources.

    Theta, alpha, beta and gamma rhythms, each of two sources with a waxing and waning amplitude, spread over a 10-20
    montage by smooth patterns that differ between patients, above a background with a 1/f spectrum. Patients have
    frequencies, amplitudes and patterns of their own; trials vary in arousal (alpha against beta) and noise. In half of
    the patients the alpha rhythm is slowed and weakened and theta strengthened, by a severity that varies: the common
    finding in Alzheimer's disease.

    Parameters
    ----------
    n_patients : int, default=60
        Patients, half of them ill.
    n_trials : int, default=6
        Recordings of a patient.
    n_windows : int, default=5
        Half-overlapping windows of a trial.
    seconds : float, default=1.5
        Length of a window, s.
    sfreq : float, default=100
        Sampling rate, Hz.
    ch_names : sequence of str, default=("F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2")
        Electrodes among the 19 of the 10-20 system (T7, T8, P7, P8 for the older T3, T4, T5, T6).
    effect : float, default=1
        Size of the disease's effect; 0 makes ill and healthy alike.
    seed : int, default=0
        The same seed gives the same cohort.
    target : str, optional
        ``"disease"`` (0 or 1), the default.

    Examples
    --------
    >>> from tscl.data.datasets import SimulatedEEG
    >>> SimulatedEEG(n_patients=4, n_trials=2).load()
    WindowDataset(40 windows, 8 channels, 150 times at 100 Hz; 4 patients, 8 trials)
    """

    name: ClassVar[str] = "simulated_eeg"
    title: ClassVar[str] = "Simulated EEG: slowed alpha rhythm or not, band-limited sources over a 10-20 montage"
    choices: ClassVar[tuple[str, ...]] = tuple(POSITIONS)

    def __init__(
        self,
        n_patients: int = 60,
        n_trials: int = 6,
        n_windows: int = 5,
        seconds: float = 1.5,
        sfreq: float = 100.0,
        ch_names: tuple[str, ...] = ("F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2"),
        effect: float = 1.0,
        seed: int = 0,
        target: str | None = None,
    ) -> None:
        super().__init__(n_patients, n_trials, n_windows, seconds, sfreq, tuple(ch_names), effect, seed, target)

    @property
    def channels(self) -> Channels:
        """The electrodes with their positions (m), in uV."""
        positions = np.array([POSITIONS[name] for name in self.names]) / 1000.0
        return Channels(self.names, ("eeg",) * len(self.names), "uV", self.sfreq, positions)

    def recordings(self) -> list[Recording]:
        """Return one recording a trial."""
        rng = np.random.default_rng(self.seed)
        disease, severity = self.draw_disease(rng)
        n, repeat = self.n_patients, self.n_trials
        places = np.array([POSITIONS[name] for name in self.names], dtype=float)

        peak = {name: band[0] * rng.normal(1, 0.055, n) for name, band in RHYTHMS.items()}
        level = {name: band[2] * rng.lognormal(0, 0.30, n) for name, band in RHYTHMS.items()}
        peak["alpha"] -= 1.9 * severity
        level["alpha"] *= np.exp(-0.35 * severity)
        level["theta"] *= np.exp(0.5 * severity)

        arousal = rng.normal(0, 0.25, n * repeat)
        signal = self.background(rng, places)
        for name, (_, bandwidth, _, origins) in RHYTHMS.items():
            trend = {"alpha": -1.0, "beta": 0.6}.get(name, 0.0)
            amplitude = np.repeat(level[name], repeat) * np.exp(trend * arousal)
            centre = np.repeat(peak[name], repeat) + rng.normal(0, 0.15, n * repeat)
            for origin in origins:
                moved = np.array(origin) + rng.normal(0, 12, (n, 1, 3))
                reach = rng.uniform(45, 75, (n, 1))
                pattern = np.exp(-0.5 * (np.linalg.norm(places - moved, axis=2) / reach) ** 2)
                source = self.rhythm(rng, centre, bandwidth) * amplitude[:, None]
                signal += np.repeat(pattern, repeat, axis=0)[:, :, None] * source[:, None, :]
        gain = np.repeat(rng.lognormal(0, 0.15, (n, 1, 1)), repeat, axis=0)
        return self.as_recordings(signal * gain, disease, severity, alpha=np.repeat(peak["alpha"], repeat))

    def rhythm(self, rng: np.random.Generator, centre: np.ndarray, bandwidth: float) -> np.ndarray:
        """Return unit-variance noise with a Gaussian spectrum around ``centre`` (Hz, shape (m,)), shape (m, T).

        The narrower the band, the slower the waxing and waning of the amplitude.
        """
        length = round(self.trial_seconds * self.sfreq)
        n = max(2 * length, int(8 * self.sfreq))
        frequency = np.fft.rfftfreq(n, 1 / self.sfreq)
        weight = np.exp(-0.5 * ((frequency - centre[:, None]) / bandwidth) ** 2)
        weight /= np.sqrt((weight**2).sum(axis=1, keepdims=True))
        spectrum = weight * (rng.normal(size=weight.shape) + 1j * rng.normal(size=weight.shape))
        return np.fft.irfft(spectrum, n)[:, :length] * n / 2

    def background(self, rng: np.random.Generator, places: np.ndarray) -> np.ndarray:
        """Return activity with a power spectrum of 1/f**exponent, correlated between neighbours, and sensor noise."""
        length, m, c = round(self.trial_seconds * self.sfreq), self.n_patients * self.n_trials, len(places)
        frequency = np.maximum(np.fft.rfftfreq(2 * length, 1 / self.sfreq), 0.5)
        exponent = np.repeat(rng.normal(1.2, 0.15, self.n_patients), self.n_trials)[:, None, None]
        spectrum = frequency ** (-exponent / 2) * (
            rng.normal(size=(m, c, len(frequency))) + 1j * rng.normal(size=(m, c, len(frequency)))
        )
        noise = np.fft.irfft(spectrum, 2 * length)[..., :length]
        noise /= noise.std(axis=(1, 2), keepdims=True)
        distance = np.linalg.norm(places[:, None] - places, axis=2)
        mixing = np.linalg.cholesky(np.exp(-distance / 60.0))
        size = np.repeat(rng.lognormal(np.log(6.0), 0.2, self.n_patients), self.n_trials) * rng.lognormal(0, 0.15, m)
        return size[:, None, None] * (mixing @ noise) + rng.normal(0, 1.0, noise.shape)
