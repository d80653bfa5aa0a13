import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from tscl.data.preprocessing import (
    AverageReference,
    BandPass,
    Clip,
    Notch,
    PickChannels,
    Resample,
    Rescale,
    Scale,
)  # fmt: skip
from tscl.data.recording import Channels, Recording
from tscl.errors import ConfigError, DataError


def recording(data, sfreq=100.0, types=None, names=None, unit="uV"):
    data = np.atleast_2d(np.asarray(data, dtype=float))
    names = names or tuple(f"c{i}" for i in range(len(data)))
    types = types or ("eeg",) * len(data)
    return Recording(
        data, Channels(names, types, unit, sfreq, np.arange(3.0 * len(data)).reshape(-1, 3)), source="x/a.edf"
    )


def sine(freq, seconds=10, sfreq=100.0):
    return np.sin(2 * np.pi * freq * np.arange(int(seconds * sfreq)) / sfreq)


def test_pick_by_name_in_the_order_asked_for():
    picked = PickChannels(["c2", "c0"])(recording([[1, 2], [3, 4], [5, 6]]))
    np.testing.assert_array_equal(picked.data, [[5, 6], [1, 2]])
    assert picked.channels.names == ("c2", "c0")
    np.testing.assert_array_equal(picked.channels.positions[0], [6, 7, 8])


def test_pick_by_type_and_errors():
    mixed = recording([[1, 2], [3, 4], [5, 6]], types=("eeg", "ecg", "eeg"))
    np.testing.assert_array_equal(PickChannels(types=["eeg"])(mixed).data, [[1, 2], [5, 6]])
    with pytest.raises(DataError, match=r"a\.edf has no channels \['Cz'\]; it has \['c0', 'c1', 'c2'\]"):
        PickChannels(["c0", "Cz"])(mixed)
    with pytest.raises(DataError, match=r"no channels of the types \['mag'\]; it has \['ecg', 'eeg'\]"):
        PickChannels(types=["mag"])(mixed)
    for wrong in ({}, {"names": ["a"], "types": ["eeg"]}):
        with pytest.raises(ConfigError):
            PickChannels(**wrong)


@pytest.mark.parametrize(("old", "new"), [(1000.0, 250.0), (160.0, 250.0), (250.0, 256.0), (512.0, 120.0)])
def test_resample_keeps_a_slow_sine(old, new):
    slow = recording(sine(2, 10, old) + 5, old)
    resampled = Resample(new)(slow)
    assert resampled.sfreq == new
    assert resampled.data.shape[1] == round(10 * new)
    inner = slice(int(new), -int(new))
    np.testing.assert_allclose(resampled.data[0, inner], (sine(2, 10, new) + 5)[inner], atol=0.02)


def test_resample_removes_what_would_alias_and_leaves_equal_rates_alone():
    fast = recording(sine(110, 10, 500.0), 500.0)
    assert np.abs(Resample(100.0)(fast).data[0, 50:-50]).max() < 0.02
    same = recording(sine(3))
    assert Resample(100.0)(same) is same


def test_resample_with_gaps():
    data = np.stack([sine(1, 10), np.full(1000, np.nan)])
    data[0, 300:400] = np.nan
    resampled = Resample(50.0)(recording(data)).data
    assert np.isnan(resampled[1]).all()
    assert np.isnan(resampled[0, 150:200]).all()
    assert np.isfinite(resampled[0, :150]).all()
    assert np.isfinite(resampled[0, 200:]).all()


def test_band_pass_keeps_the_band_without_delay():
    mixed = recording(sine(10) + sine(0.2) + sine(40) + 100)
    filtered = BandPass(5, 20)(mixed).data[0]
    np.testing.assert_allclose(filtered[200:-200], sine(10)[200:-200], atol=0.05)


def test_one_sided_filters_against_scipy():
    noise = np.random.default_rng(0).normal(size=1000)
    for step, kind, edge in ((BandPass(low=1.0), "highpass", 1.0), (BandPass(high=30.0, order=2), "lowpass", 30.0)):
        sos = signal.butter(step.order, edge, kind, fs=100.0, output="sos")
        np.testing.assert_allclose(step(recording(noise)).data[0], signal.sosfiltfilt(sos, noise), atol=1e-5)


def test_filters_bridge_gaps():
    data = sine(10)
    gappy = data.copy()
    gappy[500:520] = np.nan
    for step in (BandPass(5, 20), Notch(40.0)):
        filtered = step(recording(np.stack([gappy, np.full(1000, np.nan)]))).data
        np.testing.assert_array_equal(np.isnan(filtered[0]), np.isnan(gappy))
        assert np.isnan(filtered[1]).all()
        np.testing.assert_allclose(filtered[0, 200:400], data[200:400], atol=0.05)


def test_notch_removes_hum_and_harmonics():
    hum = recording(sine(10, 20, 250.0) + sine(50, 20, 250.0) + sine(100, 20, 250.0), 250.0)
    once = Notch(50.0)(hum).data[0, 1000:-1000]
    both = Notch(50.0, harmonics=3)(hum).data[0, 1000:-1000]
    clean = sine(10, 20, 250.0)[1000:-1000]
    np.testing.assert_allclose(both, clean, atol=0.02)
    assert np.abs(once - clean).max() > 0.9


def test_filter_errors_name_the_file():
    with pytest.raises(ConfigError, match=r"a\.edf.*60 Hz is not below half"):
        BandPass(1, 60)(recording(sine(1)))
    with pytest.raises(ConfigError, match=r"a\.edf.*50 Hz is not below half"):
        Notch(50.0)(recording(sine(1)))
    with pytest.raises(DataError, match=r"a\.edf: 10 time steps are too few"):
        BandPass(1, 20)(recording(np.arange(10.0)))
    for wrong in ((None, None), (20, 10), (0, 10)):
        with pytest.raises(ConfigError):
            BandPass(*wrong)


def test_average_reference_of_one_type_and_with_gaps():
    data = np.array([[1.0, np.nan], [3.0, 4.0], [7.0, 8.0]])
    out = AverageReference()(recording(data, types=("eeg", "eeg", "ecg"))).data
    np.testing.assert_array_equal(out, [[-1, np.nan], [1, 0], [7, 8]])
    with pytest.raises(DataError, match="no 'mag' channels"):
        AverageReference("mag")(recording(data))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["standard", "robust"]), st.floats(1e-6, 1e6), st.floats(-100, 100))
def test_scale_is_invariant_to_gain_and_offset(seed, method, gain, offset):
    x = np.random.default_rng(seed).normal(size=(2, 200))
    plain = Scale(method)(recording(x)).data
    np.testing.assert_allclose(Scale(method)(recording(gain * (x + offset))).data, plain, atol=2e-3)


def test_scale_values():
    x = np.array([[1.0, 2, 3, 4, np.nan, 100]])
    known = x[~np.isnan(x)]
    standard = Scale()(recording(x))
    np.testing.assert_allclose(standard.data, (x - known.mean()) / known.std(), rtol=1e-6)
    assert standard.channels.unit == "a.u."
    np.testing.assert_allclose(Scale("robust")(recording(x)).data, (x - 3) / 2, rtol=1e-6)


@pytest.mark.parametrize("method", ["standard", "robust"])
@pytest.mark.parametrize("value", [0.0, 3.3, -1e6, 1e-9])
def test_constant_and_empty_channels(method, value):
    x = np.full((2, 50), value)
    x[1] = np.nan
    x[0, 7] = np.nan
    out = Scale(method)(recording(x)).data
    np.testing.assert_array_equal(out[0], np.where(np.arange(50) == 7, np.nan, 0.0))
    assert np.isnan(out[1]).all()


def test_robust_scale_of_a_channel_that_is_mostly_flat():
    x = np.zeros((1, 100))
    x[0, :5] = 10.0
    out = Scale("robust")(recording(x)).data
    np.testing.assert_allclose(out[0, :5], 10 / x.std(), rtol=1e-6)


def test_rescale_and_clip():
    out = Clip(2.0)(Rescale(1e-3, "mV")(recording([[500.0, -9000.0, np.nan]])))
    np.testing.assert_allclose(out.data, [[0.5, -2.0, np.nan]])
    assert out.channels.unit == "mV"
    for wrong in (lambda: Clip(0), lambda: Resample(-1), lambda: Scale("minmax")):
        with pytest.raises(ConfigError):
            wrong()


@pytest.mark.parametrize(
    "step",
    [
        Resample(50), BandPass(1, 20), Notch(40), AverageReference(), Scale(), Rescale(2, "V"), Clip(0.1),
        PickChannels(["c0"]),
    ],
)  # fmt: skip
def test_what_came_in_stays_as_it_is(step):
    given_in = recording(np.stack([sine(3), sine(5)]))
    before = given_in.data.copy()
    out = step(given_in)
    np.testing.assert_array_equal(given_in.data, before)
    assert given_in.channels.unit == "uV"
    assert out.source == given_in.source
    assert out.data.dtype == np.float32
