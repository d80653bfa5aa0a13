import logging
from dataclasses import replace

import mne
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tscl.data import Annotation, Channels, Recording, WindowDataset
from tscl.data.preprocessing import (
    MatchChannels,
    Preprocessing,
    Resample,
    SlidingWindows,
    WholeRecording,
    match_windows,
)
from tscl.data.preprocessing.matching import find_names, name_key
from tscl.data.preprocessing.trials import RecordingSkipped
from tscl.data.readers import channels_of, from_raw
from tscl.errors import DataError

NAMES = [
    "Fp1",
    "Fp2",
    "F7",
    "F3",
    "Fz",
    "F4",
    "F8",
    "T7",
    "C3",
    "Cz",
    "C4",
    "T8",
    "P7",
    "P3",
    "Pz",
    "P4",
    "P8",
    "O1",
    "O2",
]
RNG = np.random.default_rng(0)


def eeg(names=NAMES, sfreq=100.0, seconds=3.0):
    info = mne.create_info(list(names), sfreq, "eeg")
    raw = mne.io.RawArray(RNG.normal(size=(len(names), round(seconds * sfreq))) * 1e-5, info, verbose="error")
    return raw.set_montage("standard_1020", match_case=False, on_missing="ignore", verbose="error")


def smooth_field(channels):
    """A potential that changes slowly over the head, and over time."""
    x, y, z = (np.asarray(channels.positions) / 0.095).T
    return (3 * x - 2 * y + z + x * y)[:, None] * np.cos(np.linspace(0, 6, 200))


@given(st.permutations(range(len(NAMES))))
@settings(max_examples=20, deadline=None)
def test_any_order_is_put_right(order):
    wanted = channels_of(mne.create_info(NAMES, 100.0, "eeg"))
    data = np.arange(len(NAMES) * 5, dtype=float).reshape(-1, 5)
    shuffled = Recording(data[list(order)], wanted.pick(list(order)))
    mapped = MatchChannels(wanted)(shuffled)
    np.testing.assert_array_equal(mapped.data, data)
    assert mapped.channels == wanted


def test_names_of_other_spellings_are_found():
    assert find_names(["Fp1", "T7", "P8"], ["EEG T3", "FP1.", "t6"]).tolist() == [1, 0, 2]
    assert find_names(["T3", "T7"], ["T7", "T3"]).tolist() == [1, 0]
    assert find_names(["Fp1"], ["fp1", "FP1"]).tolist() == [-1], "which of the two is meant cannot be told"
    assert find_names(["MEG0111"], ["MEG 0111"]).tolist() == [0]
    assert name_key("ECG") == "ecg"


def test_interpolated_electrodes_equal_those_of_mne_and_come_near_the_truth(caplog):
    raw = eeg()
    wanted = channels_of(raw.info)
    truth = smooth_field(wanted)
    whole = mne.io.RawArray(truth * 1e-6, raw.info, verbose="error")
    part = whole.copy().drop_channels(["Cz", "F3", "P4"])
    with caplog.at_level(logging.INFO, "tscl"):
        mapped = MatchChannels(wanted)(from_raw(part, source="a.fif"))
    assert "a.fif: missing channels ['F3', 'Cz', 'P4']: interpolated." in caplog.text
    lost = [NAMES.index(name) for name in ("F3", "Cz", "P4")]
    others = np.setdiff1d(range(len(NAMES)), lost)
    np.testing.assert_allclose(mapped.data[others], truth[others], rtol=1e-5)
    error = np.sqrt(np.mean((mapped.data[lost] - truth[lost]) ** 2)) / truth[lost].std()
    assert error < 0.2
    whole.info["bads"] = ["F3", "Cz", "P4"]
    by_mne = whole.copy().interpolate_bads(verbose="error").get_data() * 1e6
    np.testing.assert_allclose(mapped.data, by_mne, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(MatchChannels(wanted)(from_raw(whole)).data, by_mne, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("names", [["C3", "Cz", "C4", "Fz", "Pz"], ["F9", "FT9", "F10", "FT10", "T9"]])
def test_five_electrodes_are_enough_to_lose_one(names):
    info = mne.create_info(names, 100.0, "eeg").set_montage("standard_1005")
    raw = mne.io.RawArray(RNG.normal(size=(5, 300)) * 1e-5, info, verbose="error")
    raw.info["bads"] = names[1:2]
    mapped = MatchChannels(channels_of(raw.info))(from_raw(raw))
    assert np.isfinite(mapped.data).all()
    assert 0 < mapped.data[1].std() < 100


def some_magnetometers(shared_data):
    raw = mne.io.read_raw_fif(shared_data / "mne_test" / "test_ctf_comp_raw.fif", preload=True, verbose="error")
    return raw.pick(raw.copy().pick("mag").ch_names[::3])


def test_magnetometers_are_interpolated_by_field_mapping(shared_data):
    raw = some_magnetometers(shared_data)
    truth, wanted = from_raw(raw).data, channels_of(raw.info)
    lost = [10, 40, 70]
    names = [raw.ch_names[i] for i in lost]
    part = raw.copy().drop_channels(names)
    mapped = MatchChannels(wanted)(from_raw(part)).data
    for i in lost:
        assert np.corrcoef(mapped[i], truth[i])[0, 1] > 0.8
    raw.info["bads"] = names
    system = np.column_stack([2 * wanted.positions, np.ones(len(wanted))])
    centre = np.linalg.lstsq(system, (wanted.positions**2).sum(axis=1), rcond=None)[0][:3]
    by_mne = raw.copy().interpolate_bads(origin=centre, verbose="error").get_data() * 1e15
    np.testing.assert_allclose(mapped, by_mne, rtol=1e-3, atol=1e-2 * by_mne.std())


def test_a_head_that_sits_elsewhere_in_the_helmet_does_not_matter(shared_data):
    raw = some_magnetometers(shared_data)
    wanted = channels_of(raw.info)
    part = raw.copy().drop_channels([raw.ch_names[50]])
    turn = mne.transforms.rotation(0.1, -0.2, 0.3)
    turn[:3, 3] = [0.01, -0.02, 0.005]
    part.info["dev_head_t"] = mne.Transform("meg", "head", turn @ raw.info["dev_head_t"]["trans"])
    moved, still = (
        MatchChannels(wanted)(from_raw(one)).data[50] for one in (part, raw.copy().drop_channels([raw.ch_names[50]]))
    )
    np.testing.assert_allclose(moved, still, rtol=1e-3, atol=1e-3 * still.std())


def test_magnetometers_from_gradiometers_keep_their_units():
    """A dipole field, sampled by magnetometers (T) and planar gradiometers (T/m) on a helmet."""
    from mne.io.constants import FIFF

    angles = np.stack(np.meshgrid(np.linspace(0.2, 1.3, 5), np.linspace(0, 2 * np.pi, 8, endpoint=False)), -1).reshape(
        -1, 2
    )
    out = np.column_stack(
        [np.sin(angles[:, 0]) * np.cos(angles[:, 1]), np.sin(angles[:, 0]) * np.sin(angles[:, 1]), np.cos(angles[:, 0])]
    )
    side = np.column_stack([-np.sin(angles[:, 1]), np.cos(angles[:, 1]), np.zeros(len(angles))])
    names, types, chs = [], [], []
    for i, (normal, tangent) in enumerate(zip(out, side, strict=True)):
        ex = np.cross(tangent, normal)
        for kind, coil in (("mag", FIFF.FIFFV_COIL_VV_MAG_T3), ("grad", FIFF.FIFFV_COIL_VV_PLANAR_T1)):
            names.append(f"{kind}{i}")
            types.append(kind)
            chs.append((coil, np.concatenate([0.12 * normal, ex, tangent, normal])))
    info = mne.create_info(names, 100.0, types)
    for channel, (coil, loc) in zip(info["chs"], chs, strict=True):
        channel["loc"], channel["coil_type"] = loc, coil
    info["dev_head_t"] = mne.Transform("meg", "head", np.eye(4))
    dipole = mne.Dipole([0.0], [[0.02, 0.01, 0.06]], [1e-8], [[0.0, 1.0, 0.0]], [100.0])
    sphere = mne.make_sphere_model((0.0, 0.0, 0.0), None)
    forward = mne.make_forward_dipole(dipole, sphere, info, verbose="error")[0]["sol"]["data"].sum(axis=1)
    raw = mne.io.RawArray(forward[:, None] * np.ones((1, 100)) * 1e-8, info, verbose="error")
    truth, wanted = from_raw(raw).data, channels_of(info)
    lost = [names.index(name) for name in ("mag18", "grad20")]
    mapped = MatchChannels(wanted)(from_raw(raw.copy().drop_channels([names[i] for i in lost]))).data
    for i in lost:
        assert (
            abs(mapped[i, 0] - truth[i, 0])
            < 0.15 * np.abs(truth[[n for n, t in enumerate(types) if t == types[i]]]).max()
        )


def test_a_gap_in_another_type_of_channel_does_not_reach_what_is_interpolated():
    raw = eeg([*NAMES, "heart"])
    raw.set_channel_types({"heart": "ecg"}, verbose="error")
    raw.info["bads"] = ["Cz"]
    recording = from_raw(raw)
    recording.data[-1] = np.nan
    mapped = MatchChannels(channels_of(raw.info))(recording)
    assert np.isfinite(mapped.data[:-1]).all()
    assert np.isnan(mapped.data[-1]).all()


def test_another_rate_is_resampled_as_files_are():
    recording = from_raw(eeg(sfreq=200.0))
    wanted = replace(recording.channels, sfreq=128.0)
    np.testing.assert_array_equal(MatchChannels(wanted)(recording).data, Resample(128.0)(recording).data)
    close = replace(recording.channels, sfreq=200.00001)
    np.testing.assert_array_equal(MatchChannels(close)(recording).data, recording.data)


def test_millivolts_become_microvolts_where_all_are_voltages():
    wanted = Channels(("I", "II"), ("ecg", "ecg"), "uV", 100.0)
    recording = Recording(np.ones((2, 10)), replace(wanted, unit="mV").pick([1, 0]))
    np.testing.assert_array_equal(MatchChannels(wanted)(recording).data, 1000.0)
    with pytest.raises(DataError, match=r"unit 'mV' instead of 'a\.u\.'"):
        MatchChannels(replace(wanted, unit="a.u."))(recording)


def test_a_refusal_lists_everything_that_differs():
    wanted = Channels(("Fz", "Cz", "Pz", "heart"), ("eeg", "eeg", "eeg", "ecg"), "uV", 250.0)
    there = Channels(("x", "Cz", "fz"), ("misc", "misc", "misc"), "a.u.", 100.0)
    with pytest.raises(DataError) as refused:
        MatchChannels(wanted)(Recording(np.zeros((3, 50)), there, source="night.edf"))
    said = str(refused.value)
    for part in (
        "night.edf does not have the channels asked for",
        "missing channels ['Pz'] (more than 25% of 3 eeg channels)",
        "missing channels ['heart'] (ecg channels are not interpolated)",
        "type 'misc' instead of 'eeg' of ['Fz', 'Cz']",
        "unit 'a.u.' instead of 'uV'",
        "additional channels ['x']",
        "fz for Fz",
        "sampling rate 100 Hz instead of 250 Hz",
        "raw.set_montage",
    ):
        assert part in said


def test_what_cannot_be_interpolated_is_said():
    raw = eeg()
    wanted = channels_of(raw.info)
    five = raw.copy().drop_channels(NAMES[:5])
    with pytest.raises(DataError, match=r"missing channels \['Fp1', .* \(more than 25% of 19 eeg channels\)"):
        MatchChannels(wanted)(from_raw(five))
    nowhere = mne.io.RawArray(raw.get_data(), mne.create_info(NAMES, 100.0, "eeg"), verbose="error")
    nowhere.info["bads"] = ["Cz"]
    with pytest.raises(DataError, match=r"bad channels \['Cz'\] \(their positions are unknown\)"):
        MatchChannels(channels_of(nowhere.info))(from_raw(nowhere))
    mapped = (
        MatchChannels(wanted)(from_raw(nowhere)),
        MatchChannels(wanted)(from_raw(nowhere.set_montage("standard_1020"))),
    )
    np.testing.assert_allclose(mapped[0].data, mapped[1].data, rtol=1e-4, err_msg="the model's places serve as well")


def test_window_data_sets_are_mapped_or_refused():
    channels = channels_of(eeg().info)
    X = RNG.normal(size=(4, len(NAMES), 50)).astype("float32")
    table = pd.DataFrame({"patient": list("aabb"), "trial": range(4)})
    data = WindowDataset(X, table, channels)
    assert match_windows(data, channels) is data
    order = RNG.permutation(len(NAMES))
    mapped = match_windows(WindowDataset(X[:, order], table, channels.pick(order)), channels)
    np.testing.assert_array_equal(mapped.numpy(), X)
    assert mapped.channels == channels
    part = match_windows(WindowDataset(X[:, 1:], table, channels.pick(range(1, len(NAMES)))), channels)
    np.testing.assert_array_equal(part.numpy()[:, 1:], X[:, 1:])
    assert part.numpy()[:, 0].std() > 0
    with pytest.raises(DataError, match="the WindowDataset does not have .*sampling rate 50 Hz instead of 100 Hz"):
        match_windows(WindowDataset(X, table, replace(channels, sfreq=50.0)), channels)
    with pytest.raises(DataError, match="type 'ecg' instead of 'eeg'"):
        match_windows(WindowDataset(X, table, replace(channels, types=("ecg",) * len(NAMES))), channels)
    unnamed = WindowDataset(X, table, Channels.unnamed(len(NAMES)))
    assert match_windows(unnamed, channels) is unnamed


@given(
    st.lists(
        st.tuples(st.floats(0, 9.5), st.floats(0, 3), st.sampled_from(["BAD_x", "bad", "good", "EDGE"])), max_size=4
    ),
    st.sampled_from([0.0, 0.5]),
)
@settings(max_examples=25, deadline=None)
def test_windows_that_overlap_bad_annotations_are_those_that_mne_leaves_out(marks, overlap):
    info = mne.create_info(1, 100.0, "eeg")
    raw = mne.io.RawArray(np.arange(1000.0)[None] * 1e-6, info, first_samp=300, verbose="error")
    marks = [(onset, min(seconds, 9.9 - onset), text) for onset, seconds, text in marks]
    raw.set_annotations(mne.Annotations(*zip(*marks, strict=True)) if marks else None)
    epochs = mne.make_fixed_length_epochs(raw, 1.0, overlap=overlap, preload=True, verbose="error")
    cut = Preprocessing(windows=SlidingWindows(1.0, overlap, skip_bad=True))
    if not len(epochs):
        with pytest.raises(RecordingSkipped, match="every window overlaps a bad annotation"):
            cut(from_raw(raw))
        return
    windows = cut(from_raw(raw))
    np.testing.assert_allclose(windows.signals[0], epochs.get_data() * 1e6, atol=1e-3)
    np.testing.assert_allclose(windows.onsets[0], (epochs.events[:, 0] - 300) / 100.0)


def test_bad_windows_are_kept_unless_asked():
    recording = Recording(
        np.zeros((1, 100)), Channels(("a",), ("eeg",), "uV", 10.0), annotations=[Annotation(2, 1, "BAD")]
    )
    trial = WholeRecording()(recording)[0]
    assert len(SlidingWindows(1.0)(trial)[0]) == 10
    assert len(SlidingWindows(1.0, skip_bad=True)(trial)[0]) == 9
