"""A simulated electrocardiogram cohort: patients, trials, and a disease whose severity varies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tscl.data.datasets.simulation import SimulatedStudy, coloured_noise
from tscl.data.recording import Channels, Recording

RATE = 250.0  # Hz, of the integration

# Waves of a beat in a healthy heart. Angle (rad, R peak at 0) and width (rad) as in McSharry et al. 2003, table 1,
# with a segment between S and T added; strength (mV) along the body's left, foot and back axes.
WAVES = ("P", "Q", "R", "S", "ST", "T")
ANGLE = np.array([-np.pi / 3, -np.pi / 12, 0.0, np.pi / 12, np.pi / 5, np.pi / 2])
WIDTH = np.array([0.22, 0.09, 0.10, 0.10, 0.20, 0.38])
STRENGTH = np.array(
    [
        [0.06, 0.12, 0.00],
        [-0.08, -0.06, -0.14],
        [0.95, 0.85, 0.30],
        [-0.22, -0.18, 0.35],
        [0.02, 0.02, -0.02],
        [0.24, 0.20, -0.12],
    ]
)

# Rows of Dower's transform (Dower et al. 1980): a lead as a weighted sum of the left, foot and back components.
LEADS = {
    "I": (0.632, -0.235, 0.059),
    "II": (0.235, 1.066, -0.132),
    "V1": (-0.515, 0.157, -0.917),
    "V2": (0.044, 0.164, -1.387),
    "V3": (0.882, 0.098, -1.277),
    "V4": (1.213, 0.127, -0.601),
    "V5": (1.125, 0.127, -0.086),
    "V6": (0.831, 0.076, 0.230),
}


@dataclass(frozen=True)
class Hearts:
    """n hearts: ``rate`` (n,) beats a minute, ``angle`` and ``width`` (n, W) rad, ``strength`` (n, W, 3) mV."""

    rate: np.ndarray
    angle: np.ndarray
    width: np.ndarray
    strength: np.ndarray


def beat_intervals(rate: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return R-R intervals (s) over time, shape (times, n), varying with Mayer waves (0.1 Hz) and breath (0.25 Hz).

    The two bands of the spectrum are those of McSharry et al. 2003, section II-B, each as a sum of three sines.
    """
    n = len(rate)
    variation = np.zeros((len(times), n))
    for centre, spread, size in ((0.1, 0.01, 0.025), (0.25, 0.02, 0.035)):
        for _ in range(3):
            frequency = rng.normal(centre, spread, n)
            variation += (
                size
                / np.sqrt(3)
                * rng.normal(1, 0.3, n)
                * np.sin(2 * np.pi * (frequency * times[:, None] + rng.random(n)))
            )
    return 60.0 / rate * (1.0 + variation)


def dipole(hearts: Hearts, intervals: np.ndarray, phase: np.ndarray, step: float) -> np.ndarray:
    """Integrate the three coupled equations of McSharry et al. 2003 (eq. 1) by Runge-Kutta of fourth order.

    The third variable is a vector, the heart's dipole, each of its axes with its own waves (Sameni et al. 2007, eq. 3).

    Parameters
    ----------
    hearts : Hearts
        n hearts.
    intervals : ndarray, shape (2 * times - 1, n), float64
        R-R interval in s at every half step.
    phase : ndarray, shape (n,), float64
        Angle on the limit cycle at the start, rad.
    step : float
        Step in s.

    Returns
    -------
    ndarray, shape (n, 3, times), float64
        Dipole in mV.
    """
    gain = hearts.strength / hearts.width[:, :, None] ** 2

    def slope(state: np.ndarray, interval: np.ndarray) -> np.ndarray:
        x, y, z = state[:, 0], state[:, 1], state[:, 2:]
        omega = 2 * np.pi / interval
        pull = 1.0 - np.hypot(x, y)
        away = np.mod(np.arctan2(y, x)[:, None] - hearts.angle + np.pi, 2 * np.pi) - np.pi
        bump = omega[:, None] * away * np.exp(-0.5 * (away / hearts.width) ** 2)
        dz = -np.einsum("nw,nwk->nk", bump, gain) - z
        return np.column_stack([pull * x - omega * y, pull * y + omega * x, dz])

    state = np.column_stack([np.cos(phase), np.sin(phase), np.zeros((len(phase), 3))])
    track = np.empty(((len(intervals) + 1) // 2, len(phase), 3))
    track[0] = state[:, 2:]
    for k in range(1, len(track)):
        early, middle, late = intervals[2 * k - 2 : 2 * k + 1]
        k1 = slope(state, early)
        k2 = slope(state + 0.5 * step * k1, middle)
        k3 = slope(state + 0.5 * step * k2, middle)
        k4 = slope(state + step * k3, late)
        state = state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        track[k] = state[:, 2:]
    return track.transpose(1, 2, 0)


def sample(signal: np.ndarray, rate: float, sfreq: float, n_samples: int) -> np.ndarray:
    """Return ``signal`` (..., T) at ``rate`` Hz, interpolated linearly at ``n_samples`` moments of ``sfreq`` Hz."""
    position = np.arange(n_samples) * rate / sfreq
    before = np.minimum(position.astype(int), signal.shape[-1] - 2)
    part = position - before
    return signal[..., before] * (1 - part) + signal[..., before + 1] * part


def rotation(angles: np.ndarray) -> np.ndarray:
    """Return rotation matrices, shape (n, 3, 3), for angles (rad) about the three axes, shape (n, 3)."""
    cos, sin = np.cos(angles), np.sin(angles)
    result = np.tile(np.eye(3), (len(angles), 1, 1))
    for axis in range(3):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.tile(np.eye(3), (len(angles), 1, 1))
        turn[:, i, i] = turn[:, j, j] = cos[:, axis]
        turn[:, i, j], turn[:, j, i] = -sin[:, axis], sin[:, axis]
        result = turn @ result
    return result


class SimulatedECG(SimulatedStudy):
    """Electrocardiograms of patients with and without myocardial ischaemia, from a dynamical model of the heart.

    A trajectory circles a limit cycle once a heartbeat, and every wave (P, Q, R, S, T) is a bump at its angle
    (McSharry et al., IEEE Trans. Biomed. Eng. 50, 2003). Leads are projections of the heart's dipole by Dower's
    transform. Each patient has an anatomy of their own (axis, size and shape of the waves, gain of the electrodes,
    heart rate); each trial its rate, posture, muscle noise and baseline wander. In half of the patients the ST
    segment is lowered, the T wave flattened or inverted and the QRS complex widened, by a severity that varies.

    Parameters
    ----------
    n_patients : int, default=60
        Patients, half of them ill.
    n_trials : int, default=6
        Recordings of a patient.
    n_windows : int, default=5
        Half-overlapping windows of a trial.
    seconds : float, default=1.28
        Length of a window, s.
    sfreq : float, default=100
        Sampling rate, Hz, at most 250.
    leads : sequence of str, default=("I", "II", "V2", "V5")
        Leads among I, II, V1 to V6.
    effect : float, default=1
        Size of the disease's effect; 0 makes ill and healthy alike.
    seed : int, default=0
        The same seed gives the same cohort.
    target : str, optional
        ``"disease"`` (0 or 1), the default.

    Examples
    --------
    >>> from tscl.data.datasets import SimulatedECG
    >>> SimulatedECG(n_patients=4, n_trials=2).load()
    WindowDataset(40 windows, 4 channels, 128 times at 100 Hz; 4 patients, 8 trials)
    """

    name: ClassVar[str] = "simulated_ecg"
    title: ClassVar[str] = "Simulated ECG: ischaemia or not, from the dynamical model of McSharry et al. 2003"
    choices: ClassVar[tuple[str, ...]] = tuple(LEADS)
    max_sfreq: ClassVar[float] = RATE

    def __init__(
        self,
        n_patients: int = 60,
        n_trials: int = 6,
        n_windows: int = 5,
        seconds: float = 1.28,
        sfreq: float = 100.0,
        leads: tuple[str, ...] = ("I", "II", "V2", "V5"),
        effect: float = 1.0,
        seed: int = 0,
        target: str | None = None,
    ) -> None:
        super().__init__(n_patients, n_trials, n_windows, seconds, sfreq, tuple(leads), effect, seed, target)

    @property
    def channels(self) -> Channels:
        """The leads, in mV."""
        return Channels(self.names, ("ecg",) * len(self.names), "mV", self.sfreq)

    def recordings(self) -> list[Recording]:
        """Return one recording a trial."""
        rng = np.random.default_rng(self.seed)
        disease, severity = self.draw_disease(rng)
        n, m = self.n_patients, self.n_patients * self.n_trials

        strength = STRENGTH * rng.lognormal(0, 0.25, (n, len(WAVES), 1)) * rng.lognormal(0, 0.12, (n, len(WAVES), 3))
        strength += rng.normal(0, 0.02, strength.shape)
        st, t, burden = WAVES.index("ST"), WAVES.index("T"), severity[:, None]
        strength[:, st] -= burden * (0.16 * np.array([0.8, 0.6, -0.3]) * rng.lognormal(0, 0.3, (n, 1)))
        strength[:, t] *= 1.0 - burden * rng.uniform(0.4, 1.3, (n, 1))
        width = WIDTH * rng.lognormal(0, 0.10, (n, len(WAVES)))
        width[:, 1:4] *= 1.0 + 0.15 * burden
        angle = ANGLE + rng.normal(0, 0.03, (n, len(WAVES)))
        axis = rng.normal(0, 0.30, (n, 3))
        gain = rng.lognormal(0, 0.15, (n, 1, 1))
        rate = rng.normal(70, 9, n).clip(50, 100)

        def per_trial(array: np.ndarray) -> np.ndarray:
            return np.repeat(array, self.n_trials, axis=0)

        rate = (per_trial(rate) * rng.lognormal(0, 0.06, m)).clip(45, 115)
        stretch = np.sqrt(rate / 60.0)[
            :, None
        ]  # waves take more of the cycle in a faster beat, McSharry et al. section II-A
        spread = np.abs(ANGLE) > np.pi / 6
        angle = per_trial(angle) * np.where(spread, np.sqrt(stretch), stretch)
        strength = per_trial(strength)
        strength[:, t] *= rng.lognormal(0, 0.12, (m, 1))
        hearts = Hearts(rate, angle, per_trial(width) * stretch, strength)

        step = 1.0 / RATE
        warm_up, n_times = int(RATE), int(np.ceil(self.trial_seconds * RATE)) + 1
        times = np.arange(2 * (warm_up + n_times) - 1) * step / 2
        track = dipole(hearts, beat_intervals(rate, times, rng), rng.uniform(-np.pi, np.pi, m), step)[:, :, warm_up:]
        turned = rotation(per_trial(axis) + rng.normal(0, 0.06, (m, 3))) @ track
        signal = np.array([LEADS[lead] for lead in self.names]) @ turned * per_trial(gain)

        n_samples = round(self.trial_seconds * self.sfreq)
        signal = sample(signal, RATE, self.sfreq, n_samples)
        shape = signal.shape
        muscle = rng.lognormal(np.log(0.03), 0.4, (m, 1, 1))
        signal += muscle * rng.normal(size=shape) + coloured_noise(rng, shape, self.sfreq, 0.05, 0.6, 0.10)
        return self.as_recordings(signal, disease, severity, heart_rate=rate)
