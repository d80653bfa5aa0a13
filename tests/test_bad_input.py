"""What clinical folders hold besides good recordings: each tried on real files, each answered in one sentence."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb
import yaml

import tscl
from tscl.cli.main import main
from tscl.data.datasets import Folder
from tscl.data.readers import read_wfdb
from tscl.errors import TsclError

SFREQ, SECONDS, NAMES = 50, 8, ("EEG Cz", "EEG Pz")
RNG = np.random.default_rng(0)


def edf(path, names=NAMES, sfreq=SFREQ, seconds=SECONDS, values=None):
    edfio = pytest.importorskip("edfio")
    path.parent.mkdir(parents=True, exist_ok=True)
    values = RNG.normal(0, 20, (len(names), seconds * sfreq)) if values is None else values
    bounds = (-1000.0, 1000.0)
    signals = [
        edfio.EdfSignal(row, sfreq, label=name, physical_dimension="uV", physical_range=bounds)
        for row, name in zip(values, names, strict=True)
    ]
    edfio.Edf(signals).write(path)
    return path


def record(folder, name="p9", seconds=SECONDS):
    folder.mkdir(parents=True, exist_ok=True)
    signals = RNG.normal(size=(seconds * SFREQ, 2))
    wfdb.wrsamp(name, SFREQ, ["mV", "mV"], list(NAMES), signals, fmt=["16", "16"], write_dir=str(folder))
    return folder / f"{name}.hea"


def npz(path, values, sfreq=float(SFREQ), **more):
    np.savez(path, X=values.astype("float32"), sfreq=sfreq, ch_names=np.array(NAMES), **more)
    return path


def good(folder, n=4):
    return [edf(folder / f"p{i}.edf") for i in range(n)]


def load(folder, **settings):
    return Folder(patient="file", **settings).load(folder)


def truncated_edf(folder):
    good(folder)
    content = (folder / "p2.edf").read_bytes()
    (folder / "p2.edf").write_bytes(content[: len(content) // 2])
    load(folder)


def corrupt_edf(folder):
    good(folder)
    (folder / "p2.edf").write_bytes(b"\x00\xff" * 600)
    load(folder)


def truncated_dat(folder):
    path = record(folder).with_suffix(".dat")
    path.write_bytes(path.read_bytes()[:-200])
    load(folder)


def header_of_other_data(folder):
    path = record(folder)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0].replace(str(SFREQ * SECONDS), "9000"), *lines[1:]]) + "\n")
    load(folder)


def missing_dat(folder):
    record(folder).with_suffix(".dat").unlink()
    load(folder)


def missing_annotations(folder):
    read_wfdb(record(folder), annotation="atr")


def infinite(folder):
    folder.mkdir()
    values = RNG.normal(size=(2, 400))
    values[1, 7] = np.inf
    npz(folder / "p9.npz", values)
    load(folder)


def shorter_than_a_window(folder):
    good(folder)
    edf(folder / "p9.edf", seconds=1)
    load(folder, seconds=2.0)


def other_channels(folder):
    good(folder)
    edf(folder / "p9.edf", names=("EEG Cz", "EEG Fz"))
    load(folder)


def fewer_channels(folder):
    good(folder)
    edf(folder / "p9.edf", names=("EEG Cz",))
    load(folder)


def other_rate(folder):
    good(folder)
    edf(folder / "p9.edf", sfreq=100)
    load(folder)


def one_patient(folder):
    good(folder, n=1)
    load(folder).split()


def labels_for_nobody(folder):
    good(folder)
    pd.DataFrame({"patient": [f"p{i}" for i in range(4)], "sick": [None] * 4}).to_csv(
        folder / "labels.csv", index=False
    )
    load(folder, participants="labels.csv", target="sick")


def table_without_the_column(folder):
    good(folder)
    pd.DataFrame({"patient": ["p0"], "sick": [1]}).to_csv(folder / "labels.csv", index=False)
    load(folder, participants="labels.csv", target="sick", key="subject")


def fit(X, **ids):
    return tscl.COMET(dim=4, hidden=4, depth=1, max_epochs=1, accelerator="cpu", random_state=0).fit(X, **ids)


def ids_of_the_wrong_length(folder):
    fit(np.zeros((6, 2, 20), "float32"), patient=[0, 0, 1], trial=np.arange(6))


def four_axes(folder):
    fit(np.zeros((6, 2, 20, 3), "float32"), patient=np.arange(6), trial=np.arange(6))


def one_axis(folder):
    fit(np.zeros(6, "float32"), patient=np.arange(6), trial=np.arange(6))


def infinite_array(folder):
    fit(np.full((6, 2, 20), np.inf, "float32"), patient=np.arange(6), trial=np.arange(6))


def other_number_of_channels(folder):
    X = RNG.normal(size=(8, 2, 20)).astype("float32")
    fit(X, patient=np.arange(8) // 4, trial=np.arange(8) // 2).transform(X[:, :1])


def recording_of_four_axes(folder):
    folder.mkdir()
    npz(folder / "p9.npz", RNG.normal(size=(3, 2, 40, 2)))
    load(folder)


CASES = {
    # what is wrong: (how, what the sentence names, what it advises)
    truncated_edf: (("p2.edf",), "again"),
    corrupt_edf: (("p2.edf",), "file"),
    truncated_dat: (("p9",), "again"),
    header_of_other_data: (("p9.dat", "p9.hea", "9000 samples"), "again"),
    missing_dat: (("p9.dat",), ""),
    missing_annotations: (("p9.atr",), ""),
    infinite: (("p9.npz", "infinite"), "NaN"),
    shorter_than_a_window: (("p9.edf", "2 s"), "shorter"),
    other_channels: (("p9.edf", "'Fz'"), "PickChannels"),
    fewer_channels: (("p9.edf", "'Pz'"), "PickChannels"),
    other_rate: (("p9.edf", "100"), "Resample"),
    one_patient: (("patient",), ""),
    labels_for_nobody: (("labels.csv", "sick"), "check"),
    table_without_the_column: (("labels.csv", "subject", "sick"), "choose"),
    ids_of_the_wrong_length: (("3", "6", "patient"), ""),
    four_axes: (("(6, 2, 20, 3)",), "expected (windows, channels, times)"),
    one_axis: (("(6,)",), "expected (windows, channels, times)"),
    infinite_array: (("6 windows",), "NaN"),
    other_number_of_channels: (("1", "2", "channels"), ""),
    recording_of_four_axes: (("p9.npz", "(3, 2, 40, 2)"), ""),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_one_sentence_names_what_is_wrong_and_what_to_do(tmp_path, case):
    named, advice = CASES[case]
    with pytest.raises(TsclError) as caught:
        case(tmp_path / "recordings")
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    for word in (*named, advice):
        assert word in said
    assert len(said) < 500


def test_gaps_flat_and_empty_channels_are_no_error():
    X = RNG.normal(size=(16, 3, 40)).astype("float32")
    X[3, 0, 5:20] = np.nan
    X[:, 1] = 7.5
    X[4:8, 2] = np.nan
    model = fit(X, patient=np.arange(16) // 4, trial=np.arange(16) // 2)
    assert np.isfinite(model.history_.filter(like="train/").to_numpy()).all()
    assert np.isfinite(model.transform(X)).all()
    assert np.isfinite(model.transform(np.full((1, 3, 40), np.nan, "float32"))).all()


CONFIG = (Path(__file__).parents[1] / "configs" / "comet" / "simulated_ecg.yaml").read_text()


def config(folder, study):
    settings = yaml.safe_load(CONFIG)
    data = settings["data"]["init_args"]
    data["study"] = yaml.safe_load(study)
    for name in ("preprocessing", "on_error"):
        del data[name]
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    sizes = ["--model.encoder.dim=8", "--model.encoder.hidden=8", "--model.encoder.depth=2", "--data.batch_size=16"]
    run = ["--trainer.default_root_dir", str(folder / "run"), "--trainer.accelerator=cpu", "--trainer.max_epochs=1"]
    return ["fit", "--config", str(folder / "config.yaml"), *sizes, *run, "--trainer.enable_progress_bar=false"]


def errors(text):
    return [line for line in text.splitlines() if line.startswith("error:")]


def test_a_folder_with_broken_files_by_the_command_line(tmp_path, capsys):
    recordings = tmp_path / "recordings"
    good(recordings, n=8)
    for name in ("p2.edf", "p5.edf"):
        content = (recordings / name).read_bytes()
        (recordings / name).write_bytes(content[: len(content) // 2])
    edf(recordings / "p6.edf", sfreq=100)
    args = [*config(tmp_path, "{class_path: tscl.data.datasets.Folder, init_args: {patient: file}}")]
    args += ["--data.root", str(recordings)]
    assert main(args) == 1
    said = errors(capsys.readouterr().err)
    assert len(said) == 1
    assert "p2.edf" in said[0]
    assert not (tmp_path / "run").exists()

    assert main([*args, "--data.on_error", "skip"]) == 0
    err = capsys.readouterr().err
    skipped = pd.read_csv(tmp_path / "run" / "skipped.csv")
    assert [Path(source).name for source in skipped["source"]] == ["p2.edf", "p5.edf", "p6.edf"]
    for reason in skipped["reason"]:
        assert f"left out: {reason}" in err
    assert "5 patients" in (tmp_path / "run" / "model_card.md").read_text()


FULL = """
import resource, sys
from tscl.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file sizes cannot be limited on Windows")
def test_a_full_disk(tmp_path):
    study = "{class_path: tscl.data.datasets.SimulatedECG, init_args: {n_patients: 8, n_trials: 2}}"
    command = [sys.executable, "-c", FULL, *config(tmp_path, study)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    said = errors(done.stderr)
    assert len(said) == 1, done.stderr
    assert "last.ckpt could not be written" in said[0]
    assert "free space" in said[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
