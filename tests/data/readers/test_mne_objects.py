import mne
import numpy as np
import pandas as pd
import pytest

from tscl.data import check_leakage
from tscl.data.datasets.bids import bids_windows
from tscl.data.preprocessing import FixedTrials, Preprocessing, SlidingWindows
from tscl.data.readers import from_mne, from_raw, read
from tscl.errors import ConfigError, DataError, DataNotFoundError

NAMES = ["Fp1", "Fz", "Cz", "Pz", "Oz", "C3", "C4", "P3", "P4"]
RNG = np.random.default_rng(0)


def make_raw(names=NAMES, sfreq=100.0, seconds=8.0, his_id=None, types="eeg"):
    info = mne.create_info(list(names), sfreq, types)
    raw = mne.io.RawArray(RNG.normal(size=(len(names), round(seconds * sfreq))) * 1e-5, info, verbose="error")
    if his_id is not None:
        raw.info["subject_info"] = {"his_id": his_id}
    return raw.set_montage("standard_1020", on_missing="ignore", verbose="error")


def make_epochs(n=6, **more):
    raw = make_raw(seconds=2.0 * n, **more)
    events = np.column_stack([np.arange(n) * 200, np.zeros(n, int), np.arange(n) % 2 + 1])
    metadata = pd.DataFrame({"rt": np.linspace(0, 1, n), "item": [f"i{k}" for k in range(n)]})
    return mne.Epochs(
        raw, events, {"left": 1, "right": 2}, 0, 1.99, baseline=None, metadata=metadata, preload=True, verbose="error"
    )


def test_a_raw_and_its_file_give_the_same_windows(shared_data):
    path = shared_data / "eegbci_S001" / "S001R04.edf"
    recipe = Preprocessing(windows=SlidingWindows(2.0, overlap=0.5))
    from_file = recipe(read(path))
    data = from_mne(mne.io.read_raw_edf(path, verbose="error"), window=2.0, overlap=0.5)
    np.testing.assert_array_equal(data.numpy(), from_file.signals[0])
    assert data.channels == from_file.channels
    assert data.channels.unit == "uV"
    assert data.metadata["onset"].tolist() == from_file.onsets[0]
    assert data.metadata["source"].unique().tolist() == [str(path)]
    assert data.metadata["patient"].unique().tolist() == ["S001R04"], "the file says only that the patient is X"


def test_epochs_by_annotations_equal_the_trials_of_the_file(shared_data):
    path = shared_data / "eegbci_S001" / "S001R04.edf"
    raw = mne.io.read_raw_edf(path, verbose="error")
    events, names = mne.events_from_annotations(raw, verbose="error")
    epochs = mne.Epochs(raw, events, names, 0, 4 - 1 / 160, baseline=None, verbose="error")
    data = from_mne(epochs)
    recording = read(path)
    assert data.shape == (len(epochs.copy().drop_bad()), 64, 640)
    for i in (0, 7, 20):
        start = round(data.metadata["onset"][i] * 160)
        np.testing.assert_allclose(data.numpy()[i], recording.data[:, start : start + 640], atol=1e-3)
    marks = [mark.description for mark in recording.annotations]
    assert data.metadata["event"].tolist() == marks[: len(data)]
    assert not epochs.preload, "the epochs stay as they are"


@pytest.mark.parametrize(("name", "unit", "factor"), [("test.edf", "uV", 1e6), ("test_ctf_comp_raw.fif", "fT", 1e15)])
def test_units_of_real_files(shared_data, name, unit, factor):
    raw = mne.io.read_raw(shared_data / "mne_test" / name, verbose="error")
    data = from_mne(raw, window=0.25)
    assert data.channels.unit == unit
    expected = raw.get_data(picks=list(data.channels.names))[:, : data.shape[2]] * factor
    np.testing.assert_allclose(data.numpy()[0], expected, rtol=1e-5, atol=1e-3)


def test_picks():
    raw = make_raw([*NAMES, "heart", "STI"], types=["eeg"] * 9 + ["ecg", "stim"])
    assert from_mne(raw, window=1.0).channels.names == tuple(NAMES)
    assert from_mne(raw, window=1.0, picks="ecg").channels.names == ("heart",)
    assert from_mne(raw, window=1.0, picks=["heart", "eeg"]).channels.names == (*NAMES, "heart")
    assert from_mne(raw.copy().pick(["heart", "STI"]), window=1.0).channels.names == ("heart",)
    with pytest.raises(DataError, match=r"no channels \['C9'\]: RawArray 0 has .*'Fp1'"):
        from_mne(raw, window=1.0, picks=["Cz", "C9"])
    with pytest.raises(DataError, match="nothing to pick by 'mag'"):
        from_mne(raw, window=1.0, picks="mag")
    mixed = make_raw(["E", "M", "G"], types=["eeg", "mag", "grad"])
    assert from_mne(mixed, window=1.0, picks="meg").channels.types == ("mag", "grad")
    assert from_mne(mixed, window=1.0, picks="mag").channels.unit == "fT"
    assert from_mne(mixed, window=1.0, picks="eeg").channels.unit == "uV"


def test_epochs_are_trials_with_their_events_and_metadata():
    epochs = make_epochs(his_id="P7")
    data = from_mne(epochs)
    assert data.levels == ("patient", "trial")
    assert data.metadata["patient"].unique().tolist() == ["P7"]
    assert data.metadata["trial"].nunique() == 6
    assert data.metadata["event"].tolist() == ["left", "right"] * 3
    assert data.metadata["rt"].tolist() == epochs.metadata["rt"].tolist()
    assert data.metadata["onset"].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    np.testing.assert_allclose(data.numpy(), epochs.get_data() * 1e6, rtol=1e-5)
    assert data.with_target("event").y.tolist() == [0, 1] * 3
    windows = from_mne(epochs, window=0.5, overlap=0.5)
    assert windows.shape == (6 * 7, 9, 50)
    assert windows.metadata.groupby("trial").size().tolist() == [7] * 6
    assert windows.metadata["onset"][:3].tolist() == [0.0, 0.25, 0.5]
    assert windows.metadata["onset"][7] == 2.0


def test_ids_from_metadata_arguments_and_subject_info():
    epochs = make_epochs(his_id="P7")
    epochs.metadata = epochs.metadata.assign(patient=list("aabbcc"), session=[1, 1, 1, 2, 2, 2], trial=range(6))
    data = from_mne(epochs)
    assert data.levels == ("patient", "session", "trial")
    assert data.metadata["patient"].tolist() == list("aabbcc")
    assert data.metadata["trial"].tolist() == list("012345")
    assert from_mne(epochs, patient="z").metadata["patient"].unique().tolist() == ["z"]
    by_window = from_mne(epochs, patient=list("uuvvww"), levels={"site": [*"mmmmnn"], "lab": "L"})
    assert by_window.levels == ("patient", "session", "lab", "site", "trial")
    assert by_window.metadata["patient"].tolist() == list("uuvvww")
    assert by_window.metadata["site"].tolist() == list("mmmmnn")
    two = from_mne([make_epochs(4), make_epochs(2)], patient=["p", "q"], trial=range(6))
    assert two.metadata["patient"].tolist() == list("ppppqq")
    assert two.metadata["trial"].tolist() == list("012345")
    assert two.metadata["source"].nunique() == 2
    with pytest.raises(DataError, match=r"patient has shape \(3,\), but there are 6 windows of 1 recordings"):
        from_mne(epochs, patient=[1, 2, 3])
    with pytest.raises(DataError, match="patient is missing for 1 windows"):
        from_mne(epochs, patient=["a", None, *"bbcc"])


@pytest.mark.parametrize("anonymous", ["X", "0", ""])
def test_recordings_that_do_not_say_whose_they_are(anonymous, caplog):
    data = from_mne([make_raw(his_id=anonymous), make_raw(his_id="P2")], window=2.0)
    assert data.metadata["patient"].unique().tolist() == ["RawArray 0", "P2"]
    assert "1 recordings do not say whose they are (first: RawArray 0)" in caplog.text


def test_two_recordings_of_a_patient_are_two_trials():
    data = from_mne([make_raw(his_id="P1"), make_raw(his_id="P1")], window=2.0)
    assert data.metadata.groupby("trial").size().tolist() == [4, 4]
    assert data.codes("patient").max() == 0


def test_recordings_of_a_list_are_brought_to_the_channels_of_the_first():
    first, second = make_raw(), make_raw()
    shuffled = second.copy().reorder_channels(NAMES[::-1])
    data = from_mne([first, shuffled], window=2.0, patient=["a", "b"])
    np.testing.assert_array_equal(data.numpy(), from_mne([first, second], window=2.0, patient=["a", "b"]).numpy())
    with pytest.raises(DataError, match=r"RawArray 1 does not .* missing channels \['heart'\]"):
        from_mne([make_raw(["heart"], types="ecg"), first], window=2.0, patient=["a", "b"])


def test_epochs_are_mapped_at_once_and_said_once(caplog):
    like = from_mne(make_raw(), window=2.0).channels
    epochs = make_epochs(sfreq=100.0).reorder_channels(NAMES[::-1])
    truth = from_mne(epochs).numpy()[:, ::-1]
    with caplog.at_level("INFO", "tscl"):
        mapped = from_mne(epochs, like=like)
    np.testing.assert_array_equal(mapped.numpy(), truth)
    assert caplog.text.count("another order of channels: put right") == 1
    epochs.info["bads"] = ["Cz"]
    by_mne = epochs.copy().interpolate_bads(verbose="error").reorder_channels(NAMES).get_data() * 1e6
    np.testing.assert_allclose(from_mne(epochs, like=like).numpy(), by_mne, rtol=1e-3, atol=1e-3)
    slower = from_mne(make_raw(sfreq=50.0), window=2.0).channels
    resampled = from_mne(epochs, like=slower)
    assert resampled.shape == (6, 9, 100)
    assert resampled.channels.sfreq == 50.0


def test_windows_with_bad_annotations_are_left_out():
    raw = make_raw(his_id="a")
    raw.set_annotations(mne.Annotations([2.5], [0.1], ["BAD_muscle"]))
    assert from_mne(raw, window=1.0).metadata["onset"].tolist() == [0.0, 1.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    raw.set_annotations(mne.Annotations([0.0], [8.0], ["bad"]))
    with pytest.raises(DataError, match="every window overlaps a bad annotation"):
        from_mne(raw, window=1.0)


def test_epochs_of_arrays_have_no_time_and_are_no_leak():
    epochs = mne.EpochsArray(RNG.normal(size=(6, 9, 50)), make_raw().info, verbose="error")
    data = from_mne(epochs, patient=list("aabbcc"))
    assert data.metadata["onset"].isna().all()
    check_leakage(data.select("patient != 'c'"), data.select("patient == 'c'"))


def test_what_is_no_recording_or_lacks_a_window():
    with pytest.raises(ConfigError, match="RawArray 0 is continuous: give window"):
        from_mne(make_raw())
    with pytest.raises(ConfigError, match="a ndarray is no Raw, Epochs or list of them"):
        from_mne(np.zeros((2, 3)))
    with pytest.raises(ConfigError, match="picks and like"):
        from_mne(make_raw(), window=1.0, picks="eeg", like=from_raw(make_raw()).channels)
    with pytest.raises(DataError, match="shorter than a window"):
        from_mne(make_raw(), window=20.0)
    empty = make_epochs()
    empty.drop(range(6), verbose="error")
    with pytest.raises(DataError, match="Epochs 0 holds no epochs"):
        from_mne(empty)


def test_a_bids_tree_gives_the_windows_of_its_raws(tmp_path):
    mne_bids = pytest.importorskip("mne_bids")
    root = tmp_path / "tree"
    raws = {}
    for subject, order in (("01", NAMES), ("02", NAMES[::-1])):
        raw = make_raw(seconds=6.0).reorder_channels(order)
        raw.info["line_freq"] = 50
        raw.set_annotations(mne.Annotations([4.2], [0.5], ["BAD_move"]))
        path = mne_bids.BIDSPath(subject=subject, task="rest", datatype="eeg", root=root)
        mne_bids.write_raw_bids(raw, path, allow_preload=True, format="EDF", verbose="error")
        raws[subject] = mne_bids.read_raw_bids(path, verbose="error")
    data = bids_windows(root, 2.0)
    assert data.levels == ("patient", "session", "recording", "trial")
    assert data.metadata["patient"].tolist() == ["sub-01"] * 2 + ["sub-02"] * 2
    assert data.metadata["onset"].tolist() == [0.0, 2.0] * 2
    same = from_mne(list(raws.values()), window=2.0, patient=["sub-01", "sub-02"])
    np.testing.assert_array_equal(data.numpy(), same.numpy())
    assert data.channels == same.channels
    assert np.isfinite(data.channels.positions).all()
    (root / "sub-01" / "meg").mkdir()
    with pytest.raises(ConfigError, match="recordings of eeg and meg"):
        bids_windows(root, 2.0)
    with pytest.raises(DataNotFoundError, match="nowhere does not exist"):
        bids_windows(tmp_path / "nowhere", 2.0)
    with pytest.raises(DataError, match="is a file: open it by mne.io.read_raw"):
        bids_windows(root / "dataset_description.json", 2.0)


def test_the_cut_is_that_of_fixed_trials():
    raw = make_raw(sfreq=64.0)
    trials = FixedTrials(1.0)(from_raw(raw))
    np.testing.assert_array_equal(from_mne(raw, window=1.0).numpy(), np.stack([trial.data for trial in trials]))
