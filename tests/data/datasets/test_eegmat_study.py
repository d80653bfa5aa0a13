"""EEGMat: on the real files, on a file as the source has them (500 Hz), and on broken tables."""

import shutil

import numpy as np
import pytest

from tscl.data.datasets import EEGMat
from tscl.data.datasets.eegmat import ELECTRODES
from tscl.errors import ConfigError, DataError


def few(shared_data, folder, subjects):
    shutil.copy(shared_data / "eegmat" / "subject-info.csv", folder)
    for subject in subjects:
        for path in (shared_data / "eegmat").glob(f"{subject}_*.edf"):
            shutil.copy(path, folder)
    return folder


def test_real_recordings(shared_data, tmp_path):
    data = EEGMat().load(few(shared_data, tmp_path, ["Subject01", "Subject06"]))
    assert data.shape == (2 * 2 * 12 * 9, 19, 128)
    assert data.channels.names == ELECTRODES
    assert data.channels.types == ("eeg",) * 19
    assert np.isfinite(data.channels.positions).all()
    left, right = data.channels.positions[ELECTRODES.index("T3")], data.channels.positions[ELECTRODES.index("T4")]
    assert left[0] < -0.05
    assert right[0] > 0.05
    assert data.levels == ("patient", "recording", "trial")
    told = data.metadata.drop_duplicates("recording")[["patient", "recording", "task", "quality", "sex", "age"]]
    assert told.to_numpy().tolist() == [
        ["Subject01", "Subject01_1", "rest", "good", "F", 18.0],
        ["Subject01", "Subject01_2", "arithmetic", "good", "F", 18.0],
        ["Subject06", "Subject06_1", "rest", "bad", "M", 18.0],
        ["Subject06", "Subject06_2", "arithmetic", "bad", "M", 18.0],
    ]
    trial = data.select("trial == 'Subject01_1/003'")
    np.testing.assert_allclose(trial.metadata["onset"], 15 + np.arange(9) / 2)
    whole = np.concatenate([trial.numpy()[0], *trial.numpy()[1:, :, 64:]], axis=1)
    np.testing.assert_allclose(whole.mean(1), 0, atol=1e-4)
    np.testing.assert_allclose(whole.std(1), 1, atol=1e-3)


def test_whole_real_folder_is_listed(shared_data):
    sources = EEGMat().sources(shared_data / "eegmat")
    assert len(sources) == 48
    assert len({s.ids["patient"] for s in sources}) == 24
    assert sum(s.labels["task"] == "rest" for s in sources) == 24
    assert len({s.ids["patient"] for s in sources if s.labels["quality"] == "bad"}) == 3


def test_source_files_at_500_hz_and_subject_zero(tmp_path):
    edfio = pytest.importorskip("edfio")
    rng = np.random.default_rng(0)
    labels = [f"EEG {name}" for name in (*ELECTRODES[::-1], "A2-A1")] + ["ECG ECG"]
    for number, seconds in ((1, 181), (2, 62)):
        signals = [
            edfio.EdfSignal(rng.normal(0, 20, seconds * 500), 500, label=label, physical_dimension="uV")
            for label in labels
        ]
        edfio.Edf(signals).write(tmp_path / f"Subject00_{number}.edf")
    (tmp_path / "subject-info.csv").write_text(
        "Subject,Age,Gender,Recording year,Number of subtractions,Count quality\nSubject00,21,F,2011,9.7,0\n"
    )
    data = EEGMat(target="quality", sfreq=100).load(tmp_path)
    assert data.shape == (2 * 12 * 9, 19, 100)
    assert data.channels.names == ELECTRODES
    assert data.classes == ("bad",)


def test_wrong_tables_and_settings(shared_data, tmp_path):
    few(shared_data, tmp_path, ["Subject01"])
    table = tmp_path / "subject-info.csv"
    table.write_text("Subject,Age,Gender,Count quality\nSubject02,18,F,1\n")
    with pytest.raises(DataError, match="no row for Subject01"):
        EEGMat().load(tmp_path)
    table.write_text("Subject,Age\nSubject01,18\n")
    with pytest.raises(DataError, match="no column 'Gender'"):
        EEGMat().load(tmp_path)
    table.unlink()
    with pytest.raises(DataError, match=r"subject-info\.csv cannot be read"):
        EEGMat().load(tmp_path)
    with pytest.raises(ConfigError, match="500 Hz"):
        EEGMat(sfreq=1000)


def test_truncated_recording_names_the_file(shared_data, tmp_path):
    few(shared_data, tmp_path, ["Subject01"])
    path = tmp_path / "Subject01_2.edf"
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(DataError, match=r"Subject01_2\.edf"):
        EEGMat().load(tmp_path)
    data = EEGMat().load(tmp_path, on_error="skip")
    assert data.metadata["recording"].unique().tolist() == ["Subject01_1"]
    assert len(data.skipped) == 1
