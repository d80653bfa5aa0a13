"""Pairs of unlike views: the two sides of a pair are made differently."""

from __future__ import annotations

from tscl.augmenters.base import Compose, TwoSided
from tscl.augmenters.fixed.amplitude import Jitter, Scaling
from tscl.augmenters.fixed.frequency import FrequencyAddition, FrequencyMask
from tscl.augmenters.fixed.order import Permutation


class WeakStrong(TwoSided):
    """The pair of TS-TCC: a weakly and a strongly augmented view (Eldele et al., IJCAI 2021, section 3.1).

    The first view is scaled and jittered, the second is cut into segments that are permuted, and jittered. Signals are
    taken to be standardised.

    Parameters
    ----------
    scaling : float
        Standard deviation of the weak view's factor around 1.
    weak_jitter : float
        Standard deviation of the noise on the weak view, in the unit of the signal.
    max_segments : int
        Largest number of segments of the strong view.
    strong_jitter : float
        Standard deviation of the noise on the strong view, in the unit of the signal.
    """

    def __init__(
        self, scaling: float = 0.2, weak_jitter: float = 0.05, max_segments: int = 8, strong_jitter: float = 0.2
    ) -> None:
        super().__init__(
            first=Compose([Scaling(scaling), Jitter(weak_jitter)]),
            second=Compose([Permutation(max_segments), Jitter(strong_jitter)]),
        )


class TimeFrequency(TwoSided):
    """The pair of TF-C: one view augmented in time, one in frequency (Zhang et al., NeurIPS 2022, section 4).

    TF-C gives the spectrum to an encoder of its own. Here both views go through one encoder of time series, so the
    spectrum is augmented (some bins removed, some raised) and brought back to the time domain.

    Parameters
    ----------
    scaling : float
        Standard deviation of the factor around 1 of the view augmented in time.
    jitter : float
        Standard deviation of the noise on it, in the unit of the signal.
    removed : float
        Probability that a frequency bin of the other view is removed.
    added : float
        Probability that a frequency bin of the other view is raised.
    level : float
        To which share of the largest bin it is raised.
    """

    def __init__(
        self,
        scaling: float = 0.2,
        jitter: float = 0.1,
        removed: float = 0.1,
        added: float = 0.02,
        level: float = 0.5,
    ) -> None:
        super().__init__(
            first=Compose([Scaling(scaling), Jitter(jitter)]),
            second=Compose([FrequencyMask(removed), FrequencyAddition(added, level)]),
        )
