from pathlib import Path

import mne
import numpy as np
import pytest
from edfio import Edf, EdfAnnotation, EdfSignal

from tscl.data.readers import from_raw, read, read_mne
from tscl.errors import DataError, DataNotFoundError


def write_edf(path, *, labels=("EEG Fp1", "EEG Fp2", "ECG ECG"), seconds=5, rates=None, annotations=()):
    rng = np.random.default_rng(0)
    rates = rates or [100] * len(labels)
    signals = [
        EdfSignal(rng.normal(scale=20, size=seconds * rate), rate, label=label, physical_dimension="uV")
        for label, rate in zip(labels, rates, strict=True)
    ]
    Edf(signals, annotations=[EdfAnnotation(*a) for a in annotations] or None).write(path)
    return [signal.data for signal in signals]


def test_edf_values_units_types_and_annotations(tmp_path):
    path = tmp_path / "a.edf"
    written = write_edf(path, annotations=[(1.5, 0.5, "blink")])
    recording = read(path)
    assert recording.channels.names == ("Fp1", "Fp2", "ECG")
    assert recording.channels.types == ("eeg", "eeg", "ecg")
    assert (recording.channels.unit, recording.sfreq, recording.data.dtype) == ("uV", 100.0, np.float32)
    np.testing.assert_allclose(recording.data, written, atol=1e-3)
    assert [(a.onset, a.duration, a.description) for a in recording.annotations] == [(1.5, 0.5, "blink")]
    assert recording.source == str(path)
    assert recording.channels.positions is None


def test_picks_by_name_and_type_and_montage(tmp_path):
    path = tmp_path / "a.edf"
    write_edf(path)
    assert read_mne(path, picks="eeg").channels.names == ("Fp1", "Fp2")
    assert read_mne(path, picks=["ECG"]).channels.names == ("ECG",)
    placed = read_mne(path, montage="standard_1020").channels.positions
    assert np.isfinite(placed[:2]).all()
    assert np.isnan(placed[2]).all()
    with pytest.raises(DataError, match=r"a\.edf has no channels \['Cz'\].*Fp1"):
        read_mne(path, picks=["Fp1", "Cz"])


def test_channels_of_unequal_rate_come_at_the_highest(tmp_path):
    path = tmp_path / "a.edf"
    write_edf(path, rates=[100, 100, 50])
    recording = read_mne(path)
    assert recording.sfreq == 100.0
    assert recording.data.shape == (3, 500)


@pytest.mark.parametrize("suffix", [".edf", ".bdf"])
def test_truncated_file_is_an_error(tmp_path, shared_data, suffix):
    content = (shared_data / "mne_test" / f"test{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match=rf"cut\{suffix} has \d+ bytes but its header promises {len(content)}"):
        read(path)


def test_truncated_file_read_as_it_is(tmp_path):
    path = tmp_path / "a.edf"
    written = write_edf(path, seconds=6)
    path.write_bytes(path.read_bytes()[:-900])
    part = read(path, strict=False).data
    assert 300 <= part.shape[1] < 600
    np.testing.assert_allclose(part, np.array(written)[:, : part.shape[1]], atol=1e-3)


def test_header_that_promises_less_than_there_is(tmp_path):
    path = tmp_path / "more.edf"
    write_edf(path)
    path.write_bytes(path.read_bytes() + b"\0" * 6000)
    with pytest.raises(DataError, match="header promises"):
        read(path)


@pytest.mark.parametrize("name", ["junk.edf", "junk.bdf", "junk.fif", "junk.vhdr", "junk.gdf", "junk.set", "junk.xyz"])
def test_corrupt_files_are_named(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(bytes(range(256)) * 20)
    with pytest.raises(DataError, match=name):
        read(path)


def test_empty_file_and_header_only(tmp_path):
    path = tmp_path / "a.edf"
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.edf"):
        read(path)
    write_edf(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DataError, match=r"a\.edf"):
        read(path)


def test_missing_file():
    with pytest.raises(DataNotFoundError, match=r"nowhere\.edf does not exist"):
        read_mne("nowhere.edf")


def test_fif_with_offset_annotations_stim_and_mixed_units(tmp_path):
    rng = np.random.default_rng(1)
    info = mne.create_info(["E1", "M1", "G1", "STI"], 200.0, ["eeg", "mag", "grad", "stim"])
    data = rng.normal(size=(4, 2000)) * np.array([1e-5, 1e-12, 1e-11, 1.0])[:, None]
    raw = mne.io.RawArray(data, info, first_samp=400, verbose="error")
    raw.set_meas_date(1_600_000_000)
    raw.set_annotations(mne.Annotations([3.0], [1.0], ["go"], orig_time=raw.info["meas_date"]))
    path = tmp_path / "a_raw.fif"
    raw.save(path, verbose="error")
    recording = read(path)
    assert recording.channels.names == ("E1", "M1", "G1")
    factors = np.array([1e6, 1e15, 1e13])[:, None]
    np.testing.assert_allclose(recording.data, data[:3] * factors, rtol=1e-5)
    assert recording.annotations[0].onset == pytest.approx(1.0)
    assert read(path, picks="mag").channels.unit == "fT"


def test_annotations_of_a_recording_without_a_date_start_at_its_first_sample():
    raw = mne.io.RawArray(np.zeros((1, 900)), mne.create_info(1, 100.0, "eeg"), first_samp=300, verbose="error")
    raw.set_annotations(mne.Annotations([2.0], [1.0], ["BAD"]))
    assert [(a.onset, a.duration) for a in from_raw(raw).annotations] == [(2.0, 1.0)]
    assert from_raw(raw.crop(1.0)).annotations[0].onset == pytest.approx(1.0)


def test_raw_in_memory_stays_as_it_is():
    raw = mne.io.RawArray(np.full((2, 100), 1e-6), mne.create_info(["a", "b"], 100.0, ["eeg", "stim"]), verbose="error")
    recording = from_raw(raw, source="memory")
    assert (recording.source, recording.channels.names) == ("memory", ("a",))
    np.testing.assert_allclose(recording.data, 1.0)
    assert raw.ch_names == ["a", "b"]
    np.testing.assert_allclose(raw.get_data(), 1e-6)
    with pytest.raises(DataError, match=r"memory has no channels \['c'\]"):
        from_raw(raw, picks=["c"], source="memory")


def test_truncated_fif(tmp_path):
    raw = mne.io.RawArray(np.zeros((2, 50_000)), mne.create_info(2, 100.0, "eeg"), verbose="error")
    path = tmp_path / "a_raw.fif"
    raw.save(path, verbose="error")
    path.write_bytes(path.read_bytes()[:150_000])
    with pytest.raises(DataError, match="a_raw.fif"):
        read(path)


def test_truncated_brainvision(tmp_path, shared_data):
    for suffix in (".vhdr", ".vmrk", ".eeg"):
        (tmp_path / f"test{suffix}").write_bytes((shared_data / "mne_test" / f"test{suffix}").read_bytes())
    whole = (tmp_path / "test.eeg").read_bytes()
    (tmp_path / "test.eeg").write_bytes(whole[: len(whole) // 2 + 1])
    with pytest.raises(DataError, match=r"test\.eeg has \d+ bytes, which is not what test\.vhdr describes"):
        read(tmp_path / "test.vhdr")
    (tmp_path / "test.eeg").write_bytes(whole[: len(whole) // 2 // 64 * 64])
    with pytest.raises(DataError, match=r"test\.vhdr disagrees with its header \(Omitted"):
        read(tmp_path / "test.vhdr")
    assert read(tmp_path / "test.vhdr", strict=False).data.shape == (32, 3950)
    (tmp_path / "test.eeg").unlink()
    with pytest.raises(DataError, match="test"):
        read(tmp_path / "test.vhdr")


REAL = {
    "test.edf": (138, 3072, 512.0, "uV"),
    "test.bdf": (72, 2048, 2048.0, "uV"),
    "test.vhdr": (32, 7900, 1000.0, "uV"),
    "test.eeg": (32, 7900, 1000.0, "uV"),
    "test.sqd": (192, 2000, 1000.0, "fT"),
    "test_bin_raw.fif": (157, 2000, 1000.0, "fT"),
    "test_ctf_comp_raw.fif": (338, 241, 480.0, "fT"),
    "test_egi.raw": (256, 77, 250.0, "uV"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(shared_data, name):
    recording = read(shared_data / "mne_test" / name)
    assert (*recording.data.shape, recording.sfreq, recording.channels.unit) == REAL[name]
    assert np.isfinite(recording.data).all()
    assert "stim" not in recording.channels.types


@pytest.mark.parametrize("name", ["test-ave.fif.gz", "test-cov.fif.gz"])
def test_evoked_files_are_refused_in_one_sentence(shared_data, name):
    with pytest.raises(DataError, match="holds no continuous recording"):
        read(shared_data / "mne_test" / name)


def test_eegbci_and_eegmat(shared_data):
    run = read(shared_data / "eegbci_S001" / "S001R04.edf")
    assert run.data.shape == (64, 20_000)
    assert {a.description for a in run.annotations} == {"T0", "T1", "T2"}
    files = sorted((shared_data / "eegmat").glob("*.edf"))
    first = read(files[0])
    assert first.channels.types.count("eeg") == 20
    assert first.channels.names[-1] == "ECG"
    for path in files[1::12]:
        assert not first.channels.differences(read(path).channels)


def test_path_objects_and_strings_agree(tmp_path):
    path = tmp_path / "a.edf"
    write_edf(path)
    np.testing.assert_array_equal(read(str(path)).data, read(Path(path)).data)
