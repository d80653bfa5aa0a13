import shutil

import numpy as np
import pytest
import wfdb

from tscl.data.readers import read, read_wfdb
from tscl.errors import DataError, DataNotFoundError


def write_record(folder, name="r1", fmt="16", units=("mV", "mV"), **options):
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(1000, 2))
    wfdb.wrsamp(
        name, fs=250, units=list(units), sig_name=["I", "II"], p_signal=signal, fmt=[fmt] * 2, write_dir=str(folder),
        comments=["age: 50", "sex: male"], **options,
    )  # fmt: skip
    wfdb.wrann(name, "atr", np.array([100, 500]), symbol=["N", "V"], aux_note=["", "(VT"], write_dir=str(folder))
    return signal


@pytest.mark.parametrize("spelling", ["r1.hea", "r1.dat", "r1"])
def test_values_annotations_and_comments(tmp_path, spelling):
    signal = write_record(tmp_path)
    recording = read(tmp_path / spelling, annotation="atr")
    np.testing.assert_allclose(recording.data, signal.T, atol=1e-3)
    assert recording.channels.names == ("I", "II")
    assert (recording.channels.types, recording.channels.unit, recording.sfreq) == (("ecg", "ecg"), "mV", 250.0)
    assert [(a.onset, a.description) for a in recording.annotations] == [(0.4, "N"), (2.0, "V (VT")]
    assert recording.labels == {"comments": ["age: 50", "sex: male"]}
    assert recording.source == str(tmp_path / "r1.hea")


def test_several_annotation_files_and_chosen_channels(tmp_path):
    write_record(tmp_path)
    shutil.copy(tmp_path / "r1.atr", tmp_path / "r1.qrs")
    recording = read_wfdb(tmp_path / "r1", annotation=["atr", "qrs"], channels=["II"], ch_type="bio")
    assert recording.channels.names == ("II",)
    assert recording.channels.types == ("bio",)
    assert [a.description for a in recording.annotations] == ["atr:N", "qrs:N", "atr:V (VT", "qrs:V (VT"]
    with pytest.raises(DataError, match=r"r1\.hea has no signals \['V9'\]: it has \['I', 'II'\]"):
        read_wfdb(tmp_path / "r1", channels=["V9"])


def test_units(tmp_path):
    signal = write_record(tmp_path, units=("uV", "mmHg"))
    recording = read(tmp_path / "r1.hea")
    np.testing.assert_allclose(recording.data, signal.T * [[1e-3], [1.0]], atol=1e-3)
    assert recording.channels.types == ("ecg", "misc")


def test_missing_samples_are_nan(tmp_path):
    digital = np.tile(np.arange(100)[:, None], (1, 2))
    digital[10:20, 1] = -32768
    wfdb.wrsamp(
        "gap", fs=100, units=["mV"] * 2, sig_name=["I", "II"], d_signal=digital, fmt=["16"] * 2, adc_gain=[10.0] * 2,
        baseline=[0, 0], write_dir=str(tmp_path),
    )  # fmt: skip
    recording = read(tmp_path / "gap.hea")
    assert np.isnan(recording.data[1, 10:20]).all()
    assert np.isnan(recording.data).sum() == 10
    assert recording.data[1, 20] == pytest.approx(2.0)


def test_signals_of_unequal_rate(tmp_path):
    fast, slow = np.sin(np.arange(400) / 30), np.linspace(-1, 1, 100)
    frames = np.empty((100, 5), dtype="<i2")
    frames[:, :4] = np.round(fast * 1000).reshape(100, 4)
    frames[:, 4] = np.round(slow * 1000)
    frames.tofile(tmp_path / "multi.dat")
    (tmp_path / "multi.hea").write_text(
        "multi 2 100 100\nmulti.dat 16x4 1000 16 0 0 0 0 I\nmulti.dat 16 1000 16 0 0 0 0 S\n"
    )
    recording = read_wfdb(tmp_path / "multi.hea", strict=False)
    assert recording.sfreq == 400.0
    np.testing.assert_allclose(recording.data[0], fast, atol=1e-3)
    np.testing.assert_allclose(recording.data[1, ::4], slow, atol=1e-3)
    np.testing.assert_allclose(recording.data[1, 2], (slow[0] + slow[1]) / 2, atol=1e-3)


@pytest.mark.parametrize("fmt", ["16", "212", "24", "32"])
def test_truncated_signal_file(tmp_path, fmt):
    write_record(tmp_path, fmt=fmt)
    path = tmp_path / "r1.dat"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"r1\.dat has \d+ bytes but r1\.hea promises"):
        read(tmp_path / "r1.hea")


@pytest.mark.parametrize("fmt", ["16", "212", "24", "32"])
def test_every_format_reads_whole(tmp_path, fmt):
    signal = write_record(tmp_path, fmt=fmt)
    np.testing.assert_allclose(read(tmp_path / "r1.hea").data, signal.T, atol=5e-3)


def test_changed_samples_and_changed_header(tmp_path):
    write_record(tmp_path)
    path = tmp_path / "r1.dat"
    content = bytearray(path.read_bytes())
    content[40] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"r1\.hea.*signal 'I'.*checksum"):
        read(path)
    assert read(path, strict=False).data.shape == (2, 1000)
    header = tmp_path / "r1.hea"
    header.write_text(header.read_text().replace(" 1000\n", " 400\n", 1))
    with pytest.raises(DataError, match="promises"):
        read(header)


def test_missing_files_are_named_with_the_remedy(tmp_path):
    write_record(tmp_path)
    with pytest.raises(DataNotFoundError, match=r"r1\.qrs does not exist: fetch the annotation file"):
        read(tmp_path / "r1.hea", annotation="qrs")
    (tmp_path / "r1.dat").unlink()
    with pytest.raises(DataNotFoundError, match=r"r1\.dat does not exist, but r1\.hea names it"):
        read(tmp_path / "r1.hea")
    (tmp_path / "lone.dat").write_bytes(b"abc")
    with pytest.raises(DataError, match=r"lone\.hea is missing"):
        read(tmp_path / "lone.dat")
    with pytest.raises(DataNotFoundError, match=r"lone\.hea does not exist"):
        read_wfdb(tmp_path / "lone.dat")


def test_damaged_header_and_annotation(tmp_path):
    write_record(tmp_path)
    (tmp_path / "r1.atr").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"r1\.atr cannot be read"):
        read(tmp_path / "r1.hea", annotation="atr")
    (tmp_path / "r1.hea").write_bytes(bytes(range(128, 256)))
    with pytest.raises(DataError, match=r"r1\.hea"):
        read(tmp_path / "r1.hea")
    (tmp_path / "r1.hea").write_text("")
    with pytest.raises(DataError, match=r"r1\.hea"):
        read(tmp_path / "r1.hea")


def test_mat_record(tmp_path, shared_data):
    for suffix in (".hea", ".mat"):
        shutil.copy(shared_data / "cinc2021" / f"JS20000{suffix}", tmp_path)
    recording = read(tmp_path / "JS20000.mat")
    assert recording.data.shape == (12, 5000)
    assert any(comment.startswith("Dx") for comment in recording.labels["comments"])
    path = tmp_path / "JS20000.mat"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(DataError, match=r"JS20000\.mat has"):
        read(path)


def test_every_real_record(shared_data):
    headers = sorted(shared_data.glob("**/*.hea"))
    assert len(headers) > 150
    for header in headers:
        recording = read(header)
        assert recording.data.shape[0] == len(recording.channels)
        assert np.isfinite(recording.data).mean() > 0.99, header
        assert recording.channels.unit == "mV"


def test_real_annotations(shared_data):
    recording = read(shared_data / "mitdb" / "100.hea", annotation="atr")
    symbols = [a.description for a in recording.annotations]
    assert symbols.count("N") == 2239
    assert symbols[0] == "+ (N"
    assert recording.annotations[1].onset == pytest.approx(77 / 360)
    with pytest.raises(DataNotFoundError, match=r"104\.atr"):
        read(shared_data / "mitdb" / "104.hea", annotation="atr")
    leads = read(shared_data / "ludb" / "data" / "10.hea", annotation=["i", "ii"])
    assert {a.description.split(":")[0] for a in leads.annotations} == {"i", "ii"}


def test_samples_in_two_rates_and_format_61(shared_data):
    mimic = read(shared_data / "wfdb_samples" / "03700181.hea")
    assert (mimic.data.shape, mimic.sfreq) == ((3, 300_000), 500.0)
    assert mimic.channels.types == ("ecg", "misc", "ecg")
    ctg = read(shared_data / "wfdb_samples" / "p10143.hea")
    assert ctg.data[0, 0] == pytest.approx(-20863 / 200, rel=1e-5)
