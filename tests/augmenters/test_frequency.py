import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import hilbert

from tscl.augmenters import BandStop, FrequencyAddition, FrequencyMask, FrequencyShift, FTSurrogate
from tscl.augmenters.fixed.curves import fill_gaps
from tscl.augmenters.fixed.frequency import SpectralAugmenter
from tscl.types import View


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def noise(n=50, channels=2, steps=64):
    return torch.randn(n, channels, steps, dtype=torch.float64) + 3


def spectrum(x):
    return torch.fft.rfft(x).abs()


@settings(deadline=None, max_examples=40)
@given(steps=st.integers(1, 15), missing=st.sampled_from([0.0, 0.3, 0.9]), seed=st.integers(0, 1000))
def test_gaps_are_filled_as_numpy_interpolates(steps, missing, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 2, steps, generator=generator, dtype=torch.float64)
    x[torch.rand(x.shape, generator=generator) < missing] = torch.nan
    filled = fill_gaps(x)
    time = np.arange(steps)
    for row, made in zip(x.flatten(0, 1).numpy(), filled.flatten(0, 1).numpy(), strict=True):
        there = ~np.isnan(row)
        expected = np.interp(time, time[there], row[there]) if there.any() else np.zeros(steps)
        np.testing.assert_allclose(made, expected, atol=1e-12)
    assert torch.equal(filled[~x.isnan()], x[~x.isnan()])


@pytest.mark.parametrize("steps", [1, 2, 31, 64])
def test_surrogates_keep_the_amplitude_spectrum_and_the_phases_between_channels(steps):
    x = noise(steps=steps)
    made = FTSurrogate()(View(x)).x
    torch.testing.assert_close(spectrum(made), spectrum(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(made.mean(2), x.mean(2))
    before, after = torch.fft.rfft(x), torch.fft.rfft(made)
    torch.testing.assert_close(after[:, 0] * after[:, 1].conj(), before[:, 0] * before[:, 1].conj())
    if steps > 2:
        assert (made - x).std() > 0.5
    torch.testing.assert_close(FTSurrogate(0.0)(View(x)).x, x)


def test_surrogate_angles_are_uniform_up_to_their_strength():
    x = noise(400)
    turned = torch.fft.rfft(FTSurrogate(0.25)(View(x)).x) / torch.fft.rfft(x)
    angle = turned.angle()[:, :, 1:-1]
    assert angle.min() > -1e-6
    assert angle.max() <= np.pi / 2 + 1e-6
    assert abs(angle.mean() - np.pi / 4) < 0.02


def test_frequency_mask_removes_bins_and_keeps_the_rest():
    x = noise(200)
    before, after = torch.fft.rfft(x), torch.fft.rfft(FrequencyMask(0.3)(View(x)).x)
    gone = after.abs() < 1e-9
    torch.testing.assert_close(after[~gone], before[~gone])
    assert torch.equal(gone[:, 0], gone[:, 1])
    assert not gone[:, :, 0].any()
    assert 0.28 < gone[:, :, 1:].double().mean() < 0.32


def test_frequency_addition_raises_weak_bins_to_the_level():
    x = noise(200)
    before, after = torch.fft.rfft(x), torch.fft.rfft(FrequencyAddition(0.3, 0.6)(View(x)).x)
    wanted = 0.6 * before[:, :, 1:].abs().amax(2, keepdim=True)
    changed = (after - before).abs() > 1e-9
    raised = after.abs()[changed]
    torch.testing.assert_close(raised, wanted.expand(-1, -1, 33)[changed])
    assert (before.abs()[changed] < raised).all()
    torch.testing.assert_close((after / before)[:, :, 1:-1].angle(), torch.zeros(200, 2, 31, dtype=torch.float64))
    assert not changed[:, :, 0].any()
    weak = before.abs()[:, :, 1:] < wanted
    assert 0.27 < changed[:, :, 1:][weak].double().mean() < 0.33
    assert torch.equal(FrequencyAddition(1.0)(View(torch.zeros(2, 1, 8))).x, torch.zeros(2, 1, 8))


def test_band_stop_removes_the_energy_of_one_band():
    sfreq, steps = 128.0, 256
    x = noise(300, steps=steps)
    frequency = torch.fft.rfftfreq(steps, 1 / sfreq)
    before, after = torch.fft.rfft(x), torch.fft.rfft(BandStop(sfreq, 8.0, low=10.0, high=40.0)(View(x)).x)
    gone = after.abs() < 1e-9
    torch.testing.assert_close(after[~gone], before[~gone])
    assert torch.equal(gone[:, 0], gone[:, 1])
    removed = frequency[gone.any(0).any(0)]
    assert removed.min() >= 10
    assert removed.max() <= 40
    width = gone[:, 0].sum(1) * sfreq / steps
    assert (width >= 7.5).all()
    assert (width <= 8.5).all()
    first = torch.stack([frequency[row].amin() for row in gone[:, 0]])
    assert first.min() < 11
    assert first.max() > 31


def test_a_band_narrower_than_a_bin_removes_the_nearest():
    x = noise(20, steps=16)
    after = spectrum(BandStop(100.0, 0.5, low=20.0, high=30.0)(View(x)).x)
    assert ((after < 1e-9).sum(2) == 1).all()
    whole = BandStop(100.0, 50.0)(View(x)).x
    torch.testing.assert_close(whole, torch.zeros_like(x))


@pytest.mark.parametrize("steps", [400, 401])
def test_frequency_shift_moves_a_tone_and_keeps_its_amplitude_and_the_mean(steps):
    sfreq = float(steps) / 4
    time = torch.arange(steps, dtype=torch.float64) / sfreq
    x = (torch.cos(2 * torch.pi * 20 * time) + 5).expand(200, 2, -1)
    made = FrequencyShift(sfreq, 2.0)(View(x)).x
    assert torch.equal(made[:, 0], made[:, 1])
    found = []
    for row in (made[:, 0] - 5).numpy():
        inner = slice(steps // 4, -steps // 4)
        slope = np.polyfit(time[inner].numpy(), np.unwrap(np.angle(hilbert(row)))[inner], 1)[0]
        found.append(slope / (2 * np.pi) - 20)
    shift = torch.tensor(found)
    assert -2.05 < shift.min() < -1.8
    assert 1.8 < shift.max() < 2.05
    expected = torch.cos(2 * torch.pi * (20 + shift[:, None]) * time) + 5
    assert (expected - made[:, 0]).abs().max() < 0.25
    torch.testing.assert_close(FrequencyShift(sfreq, 0.0)(View(x)).x, x)


def test_filled_gaps_are_missing_again_and_the_rest_is_that_of_the_filled_signal():
    x = noise(4)
    x[0, 0, 5:9] = torch.nan
    x[1, 1] = torch.nan
    for augmenter in (
        FrequencyMask(0.3),
        FrequencyAddition(0.3),
        FTSurrogate(),
        BandStop(10.0, 1.0),
        FrequencyShift(10.0),
    ):
        torch.manual_seed(1)
        made = augmenter(View(x)).x
        torch.manual_seed(1)
        whole = augmenter(View(fill_gaps(x))).x
        assert torch.equal(made.isnan(), x.isnan())
        torch.testing.assert_close(made[~x.isnan()], whole[~x.isnan()])


def test_a_subclass_says_how_it_changes_the_spectrum():
    with pytest.raises(NotImplementedError, match="must define change"):
        SpectralAugmenter()(View(noise()))
