"""Draw what every augmenter does to a real window: ``python docs/make_augmenter_gallery.py --root ../shared/data``."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tscl import augmenters as A
from tscl.data.datasets.eegmat import read_eegmat
from tscl.data.datasets.leads import read_leads
from tscl.data.preprocessing import BandPass, PickChannels, Resample, Scale
from tscl.data.recording import Recording
from tscl.plotting import view_gallery
from tscl.plotting.style import PALETTE
from tscl.types import View

FIGURES = Path(__file__).parent / "figures"
SHOWN = 2
SEEDS = (18, 16)  # of the single views and of the pairs: draws that are plain to see
AMPLITUDE, TIME, FREQUENCY, WHOLE, PARTS, PAIRS = (PALETTE[i] for i in (0, 1, 2, 3, 4, 6))


def windows(
    recording: Recording, channels: tuple[str, ...], sfreq: float, start: float, seconds: float
) -> torch.Tensor:
    """Five windows in a row, (5, C, T), standardised by channel; the one in the middle, from ``start`` s, is shown."""
    for step in (PickChannels(channels), BandPass(0.5, 40.0), Resample(sfreq), Scale("standard")):
        recording = step(recording)
    length = round(seconds * sfreq)
    first = round(start * sfreq) - SHOWN * length
    return torch.from_numpy(recording.data[:, first : first + 5 * length]).unfold(1, length, length).transpose(0, 1)


def single(sfreq: float) -> list[tuple[str, str, A.Augmenter]]:
    """Colour, title and augmenter of the panels that show one view."""
    return [
        (AMPLITUDE, "Jitter, sigma 0.3", A.Jitter(0.3)),
        (AMPLITUDE, "Scaling, sigma 0.5", A.Scaling(0.5)),
        (AMPLITUDE, "ChannelScaling, sigma 0.5", A.ChannelScaling(0.5)),
        (AMPLITUDE, "MagnitudeWarp, sigma 0.5", A.MagnitudeWarp(0.5)),
        (WHOLE, "SignFlip", A.SignFlip(1.0)),
        (WHOLE, "Mixup, min_lambda 0.3", A.Mixup(0.3)),
        (WHOLE, "ChannelDropout, p 0.5", A.ChannelDropout(0.5)),
        (WHOLE, "ChannelShuffle, p 1", A.ChannelShuffle(1.0)),
        (PARTS, "CutOut, length 0.2", A.CutOut(0.2)),
        (PARTS, "LatentMask, continuous", A.LatentMask("continuous")),
        (PARTS, "WindowSlice, length 0.6", A.WindowSlice(0.6)),
        (PARTS, "RandomCropResize, min_length 0.5", A.RandomCropResize(0.5)),
        (TIME, "Permutation, max_segments 5", A.Permutation(5)),
        (TIME, "TimeReversal", A.TimeReversal(1.0)),
        (TIME, "TimeWarp, sigma 0.5", A.TimeWarp(0.5)),
        (TIME, "WindowWarp, length 0.3", A.WindowWarp(0.3)),
        (FREQUENCY, "FrequencyMask, p 0.3", A.FrequencyMask(0.3)),
        (FREQUENCY, "FrequencyAddition, p 0.05", A.FrequencyAddition(0.05)),
        (FREQUENCY, "BandStop, 5 of 0 to 20 Hz", A.BandStop(sfreq, 5.0, high=20.0)),
        (FREQUENCY, "FrequencyShift, max_shift 3 Hz", A.FrequencyShift(sfreq, 3.0)),
        (FREQUENCY, "FTSurrogate, strength 0.3", A.FTSurrogate(0.3)),
        (FREQUENCY, "FTSurrogate, strength 1", A.FTSurrogate(1.0)),
    ]


def paired() -> list[tuple[str, A.Augmenter]]:
    """Title and augmenter of the panels that show both sides of a pair."""
    return [
        ("OverlappingCrops", A.OverlappingCrops()),
        ("WeakStrong", A.WeakStrong()),
        ("TimeFrequency", A.TimeFrequency()),
    ]


def side(augmenter: A.Augmenter, number: int) -> Callable[[View], View]:
    """Return what makes one side of a pair."""
    return lambda view: augmenter.pair(view, view)[number]


def shown(make: Callable[[View], View], batch: torch.Tensor, seed: int) -> np.ndarray:
    """Return a view of the shown window, (C, T): what a latent mask hides, and what is cut off, is NaN."""
    torch.manual_seed(seed)
    view = make(View(batch))
    signal = view.x[SHOWN].numpy().copy()
    if view.mask is not None:
        signal[:, ~view.mask[SHOWN].numpy()] = np.nan
    steps = batch.shape[2]
    if signal.shape[1] == steps:
        return signal
    # Where the crop begins is what the same draw makes of a window that holds its time steps.
    torch.manual_seed(seed)
    begin = int(make(View(torch.arange(float(steps)).expand(len(batch), 1, -1))).x[SHOWN, 0, 0])
    placed = np.full((len(signal), steps), np.nan)
    placed[:, begin : begin + signal.shape[1]] = signal
    return placed


def draw(batch: torch.Tensor, sfreq: float, path: Path) -> None:
    panels: list[tuple[str, str, Callable[[View], View]]] = [*single(sfreq)]
    for title, augmenter in paired():
        panels += [(PAIRS, f"{title}, {name} view", side(augmenter, i)) for i, name in enumerate(("first", "second"))]
    views = {title: shown(make, batch, SEEDS[colour == PAIRS]) for colour, title, make in panels}
    axes = view_gallery(batch[SHOWN].numpy(), views, sfreq=sfreq, colours=[colour for colour, _, _ in panels])
    for ax in axes[-4:]:
        ax.set_xlabel("time (s)", fontsize=8)
    axes[0].figure.savefig(path, dpi=100, facecolor="white", metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("../shared/data"), help="folder with eegmat and ludb")
    root = parser.parse_args().root
    FIGURES.mkdir(exist_ok=True)
    eeg = read_eegmat(str(root / "eegmat" / "Subject01_1.edf"))
    draw(windows(eeg, ("Fp1", "Cz", "O1"), 125.0, 20.0, 1.6), 125.0, FIGURES / "augmenters_eeg.png")
    ecg = read_leads(str(root / "ludb" / "data" / "10.hea"))
    draw(windows(ecg, ("I", "II", "V2"), 125.0, 4.0, 2.0), 125.0, FIGURES / "augmenters_ecg.png")


if __name__ == "__main__":
    main()
