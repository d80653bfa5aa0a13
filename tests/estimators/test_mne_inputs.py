import json
import logging
from pathlib import Path

import mne
import numpy as np
import pytest

import tscl
from tscl.data import Channels
from tscl.data.readers import channels_of, from_mne, from_numpy
from tscl.errors import ConfigError, DataError, DataNotFoundError
from tscl.estimators.inputs import as_windows

SMALL = {"dim": 4, "hidden": 4, "depth": 1, "max_epochs": 1, "batch_size": 16, "random_state": 0, "accelerator": "cpu"}
NAMES = ["Fp1", "F3", "Fz", "F4", "T7", "C3", "Cz", "C4", "T8", "P3", "Pz", "P4", "O1", "O2"]
RNG = np.random.default_rng(0)


def make_raw(names=NAMES, sfreq=100.0, seconds=8.0, types="eeg"):
    info = mne.create_info(list(names), sfreq, types)
    raw = mne.io.RawArray(RNG.normal(size=(len(names), round(seconds * sfreq))) * 1e-5, info, verbose="error")
    return raw.set_montage("standard_1020", match_case=False, on_missing="ignore", verbose="error")


def make_epochs(n=6, **more):
    return mne.make_fixed_length_epochs(make_raw(seconds=2.0 * n, **more), 2.0, preload=True, verbose="error")


@pytest.fixture(scope="module")
def model():
    return tscl.COMET(**SMALL).fit([make_raw(), make_raw()], patient=["a", "b"], window=1.0)


def test_fit_on_raws_remembers_channels_and_window(model):
    assert model.channels_.names == tuple(NAMES)
    assert (model.channels_.unit, model.channels_.sfreq, model.window_) == ("uV", 100.0, 1.0)
    assert {"train/patient", "train/trial"} <= set(model.history_)
    assert model.transform(make_raw()).shape == (8, 4)
    assert model.encode(make_raw(seconds=3.0)).shape == (3, 4, 100)


def test_info_has_the_sensors_in_their_places(model):
    info = model.info_
    assert isinstance(info, mne.Info)
    assert (info.ch_names, info["sfreq"]) == (NAMES, 100.0)
    expected, found = (one.get_montage().get_positions()["ch_pos"] for one in (make_raw().info, info))
    np.testing.assert_allclose([found[name] for name in NAMES], [expected[name] for name in NAMES], atol=1e-7)


def test_raws_epochs_and_windows_of_the_same_signal_embed_alike(model):
    raw = make_raw()
    epochs = mne.make_fixed_length_epochs(raw, 1.0, preload=True, verbose="error")
    expected = model.transform((raw.get_data() * 1e6).reshape(len(NAMES), 8, 100).swapaxes(0, 1))
    for X in (raw, [raw], epochs, from_mne(raw, window=1.0)):
        np.testing.assert_allclose(model.transform(X), expected, rtol=1e-4, atol=1e-5)
    both = model.transform([raw, epochs])
    np.testing.assert_allclose(both, np.concatenate([expected, expected]), rtol=1e-4, atol=1e-5)


def test_epochs_of_another_length_stay_whole(model):
    assert model.transform(make_epochs()).shape == (6, 4)


def test_another_order_spelling_and_rate_are_mapped(model, caplog):
    raw = make_raw()
    expected = model.transform(raw)
    other = raw.copy().reorder_channels(NAMES[::-1]).rename_channels({"T7": "T3", "T8": "T4", "Fp1": "FP1"})
    with caplog.at_level(logging.INFO, "tscl"):
        np.testing.assert_allclose(model.transform(other), expected, rtol=1e-5)
    assert "FP1 for Fp1" in caplog.text
    assert "T3 for T7" in caplog.text
    assert "another order of channels: put right" in caplog.text
    slow = np.cumsum(RNG.normal(size=(len(NAMES), 1600)), axis=1)
    slow = mne.filter.filter_data(slow, 200.0, 1.0, 20.0, verbose="error") * 1e-5
    fast = mne.io.RawArray(slow, make_raw(sfreq=200.0).info, verbose="error")
    half = mne.io.RawArray(slow[:, ::2], make_raw().info, verbose="error")
    by_fast, by_half = model.encode(fast), model.encode(half)
    assert by_fast.shape == by_half.shape
    inner = slice(1, -1)
    assert np.abs(by_fast[inner] - by_half[inner]).max() < 0.05 * by_half.std()


def test_missing_and_bad_channels_are_interpolated(model):
    raw = make_raw()
    raw.info["bads"] = ["Cz", "O1"]
    expected = model.transform(raw.copy().interpolate_bads(verbose="error"))
    np.testing.assert_allclose(model.transform(raw), expected, rtol=1e-3, atol=1e-4)
    gone = raw.copy().drop_channels(["Cz", "O1"])
    np.testing.assert_allclose(model.transform(gone), expected, rtol=1e-2, atol=1e-3)


def test_a_recording_that_does_not_fit_is_refused_with_all_that_differs(model):
    raw = make_raw(["Fp1", "F3", "Fz", "X1"], sfreq=50.0)
    raw.set_channel_types({"Fz": "misc"}, verbose="error")
    with pytest.raises(DataError) as refused:
        model.transform(raw)
    said = str(refused.value)
    for part in (
        "'F4', 'T7'",
        "more than 25%",
        "additional channels ['X1']",
        "type 'misc' instead of 'eeg'",
        "50 Hz instead of 100 Hz",
    ):
        assert part in said
    with pytest.raises(DataError, match=r"X has 3 channels, the model was fitted on 14"):
        model.transform(np.zeros((2, 3, 100)))


def test_window_data_sets_are_compared_too(model):
    data = from_mne(make_raw(), window=1.0)
    expected = model.transform(data)
    order = RNG.permutation(len(NAMES))
    shuffled = from_numpy(
        data.numpy()[:, order], sfreq=100.0, unit="uV", ch_types="eeg", ch_names=[NAMES[i] for i in order]
    )
    np.testing.assert_allclose(model.transform(shuffled), expected, rtol=1e-5)
    with pytest.raises(DataError, match=r"unit 'a\.u\.' instead of 'uV'"):
        model.transform(from_numpy(data.numpy(), sfreq=100.0, ch_types="eeg", ch_names=NAMES))
    np.testing.assert_array_equal(model.transform(as_windows(data.numpy())), model.transform(data.numpy()))


def test_channels_and_window_are_saved_without_the_person(model, tmp_path):
    raw = make_raw()
    raw.info["subject_info"] = {"his_id": "P1", "last_name": "Secret"}
    folder = tscl.TS2Vec(**SMALL).fit(raw, window=1.0).save_pretrained(tmp_path / "ts2vec")
    assert all(b"Secret" not in path.read_bytes() for path in Path(folder).iterdir())
    said = json.loads((model.save_pretrained(tmp_path / "comet") / "config.json").read_text())
    assert said["channels"]["names"] == NAMES
    again = tscl.COMET.from_pretrained(tmp_path / "comet")
    assert (again.channels_, again.window_) == (model.channels_, 1.0)
    assert again.info_.get_montage().get_positions()["ch_pos"].keys() == set(NAMES)
    raw.info["bads"] = ["Cz"]
    np.testing.assert_allclose(again.transform(raw), model.transform(raw), rtol=1e-5)


def test_a_model_on_arrays_compares_nothing(tmp_path):
    X = RNG.normal(size=(6, len(NAMES), 100)).astype("float32")
    model = tscl.TS2Vec(**SMALL).fit(X)
    assert model.channels_ == Channels.unnamed(len(NAMES))
    assert model.window_ is None
    assert model.transform(make_epochs()).shape == (6, 4)
    assert model.info_.ch_names[0] == "ch0"
    with pytest.raises(ConfigError, match="RawArray 0 is continuous: give window"):
        model.transform(make_raw())
    folder = model.save_pretrained(tmp_path / "model")
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({k: v for k, v in said.items() if k not in ("channels", "window")}))
    earlier = tscl.TS2Vec.from_pretrained(folder)
    np.testing.assert_array_equal(earlier.transform(X), model.transform(X))
    assert earlier.save_pretrained(tmp_path / "again").is_dir()
    assert len(earlier.info_.ch_names) == len(NAMES)


def test_ids_and_labels_beside_recordings():
    data = as_windows(make_epochs(), list("xyxyxy"), patient=list("aabbcc"), trial=range(6))
    assert data.classes == ("x", "y")
    assert data.y.tolist() == [0, 1] * 3
    assert data.metadata["patient"].tolist() == list("aabbcc")
    with pytest.raises(DataError, match=r"y has shape \(2,\) for 6 windows"):
        as_windows(make_epochs(), [1, 2])
    with pytest.raises(ConfigError, match="window is for recordings"):
        as_windows(np.zeros((3, 1, 20)), window=1.0)
    with pytest.raises(ConfigError, match="RawArray 0 is continuous: give window"):
        tscl.COMET(**SMALL).fit(make_raw())


def test_a_bids_root(tmp_path, model):
    mne_bids = pytest.importorskip("mne_bids")
    for subject in ("01", "02"):
        raw = make_raw(seconds=4.0)
        raw.info["line_freq"] = 50
        path = mne_bids.BIDSPath(subject=subject, task="rest", datatype="eeg", root=tmp_path / "tree")
        mne_bids.write_raw_bids(raw, path, allow_preload=True, format="EDF", verbose="error")
    fitted = tscl.COMET(**SMALL).fit(tmp_path / "tree", window=1.0)
    assert "train/session" in fitted.history_
    assert fitted.channels_.names == tuple(NAMES)
    assert fitted.transform(str(tmp_path / "tree")).shape == (8, 4)
    assert model.transform(tmp_path / "tree").shape == (8, 4)
    with pytest.raises(ConfigError, match="tree are continuous: give window"):
        tscl.COMET(**SMALL).fit(tmp_path / "tree")
    with pytest.raises(ConfigError, match="brings its own ids"):
        tscl.COMET(**SMALL).fit(tmp_path / "tree", window=1.0, patient="a")
    with pytest.raises(DataNotFoundError, match="nowhere does not exist"):
        tscl.COMET(**SMALL).fit(tmp_path / "nowhere", window=1.0)


def test_a_model_of_files_serves_a_raw_of_mne(shared_data):
    from tscl.data.datasets import Folder

    path = shared_data / "eegmat" / "Subject00_1.edf"
    path = path if path.exists() else sorted((shared_data / "eegmat").glob("*_1.edf"))[0]
    study = Folder(pattern=path.name, patient="file", types=["eeg"], seconds=2.0, overlap=0.0, scale=None)
    data = study.load(path.parent).select(range(8))
    model = tscl.TS2Vec(**SMALL).fit(data)
    raw = mne.io.read_raw_edf(path, verbose="error").crop(0, 16 - 1 / 250)
    assert raw.ch_names[0].startswith("EEG "), "mne keeps the type in front of the name"
    np.testing.assert_allclose(model.transform(raw), model.transform(data), rtol=1e-4, atol=1e-5)
    assert model.channels_ != channels_of(raw.info)


def test_a_classifier_takes_recordings_too(model):
    raws = [make_raw() for _ in range(6)]
    y = np.repeat(["well", "sick"] * 3, 4)
    classifier = tscl.ContrastiveClassifier(model, max_epochs=1, validation=0.34, random_state=0, accelerator="cpu")
    classifier.fit(raws, y, patient=list("abcdef"), window=2.0)
    assert classifier.predict_proba(raws[0]).shape == (4, 2)
    assert set(classifier.validation_patients_) < set("abcdef")
