"""Finding, counting, the published split, downloading, and the list of studies."""

import functools
import hashlib
import http.server
import inspect
import logging
import pickle
import threading

import numpy as np
import pandas as pd
import pytest

from tscl.data.datasets import AD, LUDB, PTB, STUDIES, EEGMat, Folder, SimulatedECG, Study, TDBrain
from tscl.data.datasets.base import natural_order
from tscl.data.recording import Channels
from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError, DataNotFoundError


def table_data(patients, **columns):
    """A WindowDataset of one tiny window a row."""
    table = pd.DataFrame({"patient": patients, "trial": "0", "recording": patients, **columns})
    signals = np.zeros((len(table), 1, 4), np.float32)
    return WindowDataset(signals, table.assign(source=""), Channels(("a",), ("eeg",), "uV", 1.0))


@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.__name__)
def test_every_study_describes_itself(study):
    instance = study()
    assert STUDIES[study.name] is study
    assert study.title
    assert study.access.endswith(".")
    assert study.licence
    assert instance.levels == ("series",) or (instance.levels[0], instance.levels[-1]) == ("patient", "trial")
    assert instance.preprocessing().windows is None or instance.preprocessing().windows.seconds > 0
    assert "Parameters" in inspect.getdoc(study) or not inspect.signature(study).parameters
    assert repr(instance).startswith(study.__name__)
    if study.targets:
        assert instance.target in study.targets
        assert study(target=study.targets[-1]).target == study.targets[-1]
        with pytest.raises(ConfigError, match="no target 'nonsense'"):
            study(target="nonsense")


def test_all_named_sets_are_listed():
    assert set(STUDIES) == {
        "simulated_ecg", "simulated_eeg", "ad", "ptb", "tdbrain", "ludb", "eegmat", "mitdb", "challenge2021", "archive",
        "folder", "bids", "simulated_speech", "gwilliams2022", "schoffelen2019", "broderick2019", "brennan2019",
        "bids_speech",
    }  # fmt: skip


@pytest.mark.parametrize("study", [AD, PTB, TDBrain, LUDB, EEGMat], ids=lambda study: study.__name__)
def test_empty_and_missing_roots_say_what_to_fetch(study, tmp_path, monkeypatch):
    monkeypatch.delenv("TSCL_DATA", raising=False)
    with pytest.raises(DataNotFoundError, match="set TSCL_DATA"):
        study().find()
    with pytest.raises(DataNotFoundError, match="is empty") as caught:
        study().load(tmp_path)
    assert study.access in str(caught.value)
    with pytest.raises(DataNotFoundError, match="does not exist"):
        study().find(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataNotFoundError) as caught:
        study().find(tmp_path)
    assert study.patterns[0] in str(caught.value)


def test_root_is_found_by_argument_and_by_variable(tmp_path, monkeypatch):
    home = tmp_path / "PTB"
    (home / "patient001").mkdir(parents=True)
    (home / "patient001" / "s1.hea").write_text("s1 1 1000 10\n")
    assert PTB().find(home) == home
    assert PTB().find(tmp_path) == home
    monkeypatch.setenv("TSCL_DATA", str(tmp_path))
    assert PTB().find() == home
    monkeypatch.setenv("TSCL_DATA", str(home))
    assert PTB().find() == home
    monkeypatch.setenv("TSCL_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataNotFoundError, match="elsewhere does not exist"):
        PTB().find()


def test_partial_sets_are_counted_in_a_warning(caplog):
    data = table_data(["1", "2", "2"])
    with caplog.at_level(logging.WARNING, logger="tscl"):
        said = LUDB().check_counts(data)
    assert "2 of 200 patients" in said
    assert "3 of 1600 windows" in said
    assert said in caplog.text
    assert "windows" not in LUDB().check_counts(data, geometry=False)


def test_simulated_sets_need_no_root(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    study = SimulatedECG(n_patients=2, n_trials=1, n_windows=2)
    assert study.check_counts(study.load(download=True)) == ""


def test_fixed_published_split_takes_whole_patients():
    data = table_data([str(i) for i in range(1, 24) for _ in range(2)])
    split = AD().published_split(data)
    assert set(split.val.metadata["patient"]) == {"17", "18"}
    assert set(split.test.metadata["patient"]) == {"19", "20"}
    assert set(split.train.metadata["patient"]) == {str(i) for i in range(1, 24)} - {"17", "18", "19", "20"}
    assert len(split.train) + len(split.val) + len(split.test) == len(data)


def test_published_split_that_does_not_fit_is_none(caplog):
    with caplog.at_level(logging.WARNING, logger="tscl"):
        assert AD().published_split(table_data(["1", "2", "19"])) is None
    assert "none of its patient ids for val" in caplog.text
    assert LUDB().published_split(table_data(["1", "2"])) is None


def test_natural_order_counts(tmp_path):
    names = ["s10.hea", "s2.hea", ".s1.hea", "s1.hea"]
    assert [p.name for p in natural_order(tmp_path / n for n in names)] == ["s1.hea", "s2.hea", "s10.hea"]


@pytest.fixture
def source(tmp_path):
    """A small project served on this machine: two files and their sums."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "a.hea").write_bytes(b"header")
    (folder / "data").mkdir()
    (folder / "data" / "b.dat").write_bytes(b"signal")
    sums = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()} {n}" for n in ("a.hea", "data/b.dat")]
    (folder / "SHA256SUMS.txt").write_text("\n".join(sums) + "\n")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def study_at(url):
    class Served(LUDB):
        files_url = url
        patterns = ("a.hea",)

    return Served()


def test_download_fetches_verifies_and_continues(source, tmp_path, monkeypatch):
    folder, url = source
    study, goal = study_at(url), tmp_path / "goal"
    assert study.download(goal) == goal
    assert (goal / "data" / "b.dat").read_bytes() == b"signal"
    (goal / "a.hea").write_bytes(b"changed")
    (folder / "data" / "b.dat").unlink()
    study.download(goal)
    assert (goal / "a.hea").read_bytes() == b"header"
    monkeypatch.setenv("TSCL_DATA", str(tmp_path / "home"))
    (folder / "data" / "b.dat").write_bytes(b"signal")
    assert study.download() == tmp_path / "home" / "ludb"


def test_download_refuses_damaged_files(source, tmp_path):
    folder, url = source
    (folder / "a.hea").write_bytes(b"damaged")
    with pytest.raises(DataError, match="arrived damaged"):
        study_at(url).download(tmp_path / "goal")
    assert not (tmp_path / "goal" / "a.hea").exists()
    (folder / "SHA256SUMS.txt").write_text("nothing\n")
    with pytest.raises(DataError, match="lists no SHA-256 sums"):
        study_at(url).download(tmp_path / "other")


def test_download_says_why_it_cannot(tmp_path, monkeypatch):
    monkeypatch.delenv("TSCL_DATA", raising=False)
    for study in (AD(), TDBrain(), Folder()):
        with pytest.raises(DataNotFoundError, match="cannot be downloaded") as caught:
            study.download(tmp_path)
        assert study.access in str(caught.value)
    with pytest.raises(ConfigError, match="pass `root`"):
        LUDB().download()
    with pytest.raises(DataNotFoundError, match="cannot be reached"):
        study_at("http://127.0.0.1:9/").download(tmp_path / "goal")


def test_study_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Study()


def test_cached_windows_are_the_same(shared_data, tmp_path):
    root = tmp_path / "eegmat"
    root.mkdir()
    for name in ("subject-info.csv", "Subject01_1.edf", "Subject01_2.edf"):
        (root / name).symlink_to(shared_data / "eegmat" / name)
    plain = EEGMat().load(root)
    made = EEGMat().load(root, cache=tmp_path / "cache")
    opened = EEGMat(target="sex").load(root, cache=tmp_path / "cache")
    np.testing.assert_array_equal(plain.numpy(), made.numpy())
    np.testing.assert_array_equal(plain.numpy(), opened.numpy())
    assert opened.classes == ("F",)
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("name", ["ludb", "eegmat", "mitdb", "challenge2021", "simulated_ecg", "simulated_eeg"])
def test_sources_travel_to_worker_processes(shared_data, name):
    study = STUDIES[name]()
    sources = study.sources(study.find(shared_data))
    assert [s.path for s in pickle.loads(pickle.dumps(sources))] == [s.path for s in sources]


def test_simulated_cohorts_are_cached_by_their_settings(tmp_path):
    for seed in (0, 0, 1):
        SimulatedECG(n_patients=2, n_trials=1, seed=seed).load(cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_studies_are_made_from_configurations():
    parser = pytest.importorskip("jsonargparse").ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Study, "study")
    config = {"class_path": "tscl.data.datasets.Folder", "init_args": {"patient": "file", "types": ["eeg"], "low": 1.0}}
    study = parser.instantiate_classes(parser.parse_object({"study": config})).study
    assert isinstance(study, Folder)
    assert (study.patient, study.types, study.low) == ("file", ["eeg"], 1.0)
