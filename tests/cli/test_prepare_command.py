import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import pytest
import yaml

from tscl.cli.main import main
from tscl.data import CohortDataModule, Source, WindowStore
from tscl.data.datasets import Folder
from tscl.data.preprocessing import Preprocessing

STUDY = {"patient": "parent", "seconds": 1.0, "overlap": 0.0, "trial_seconds": 2.0}


def record(tree, patient, number, seconds=4, sfreq=20.0):
    path = tree / patient / f"{number}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(int(patient[1:]) * 100 + number)
    data = rng.normal(size=(2, int(seconds * sfreq))).astype("float32")
    np.savez(path, X=data, sfreq=sfreq, ch_names=["a", "b"])
    return path


@pytest.fixture
def tree(tmp_path):
    """Eight recordings of four patients, and a file that is none."""
    for patient in range(4):
        for number in range(2):
            record(tmp_path / "tree", f"P{patient}", number)
    (tmp_path / "tree" / "P1" / "broken.npz").write_bytes(b"this is no archive")
    return tmp_path / "tree"


@pytest.fixture
def written(tmp_path, config):
    study = f"{{class_path: tscl.data.datasets.Folder, init_args: {yaml.safe_dump(STUDY, default_flow_style=True)}}}"
    return config(tmp_path / "config.yaml", run=tmp_path / "run", study=study, epochs=1)


@pytest.fixture
def loaded(monkeypatch):
    """The names of the files that are read from now on, in this process."""
    names, load = [], Source.load
    monkeypatch.setattr(Source, "load", lambda self: names.append("/".join(self.path.split("/")[-2:])) or load(self))
    return names


@pytest.fixture
def prepare(written, tree, capsys):
    def run(*args):
        capsys.readouterr()
        status = main(["prepare", "--config", written, "--n_jobs", "1", *map(str, args)])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def sentence(err):
    [line] = [line for line in err.splitlines() if line.startswith("error:")]
    return line


def test_a_tree_becomes_a_store_that_grows_with_it(prepare, tree, tmp_path, loaded):
    store = tmp_path / "store"
    status, out, err = prepare("--data.root", tree, "--out", store)
    assert status == 0
    assert f"{store} holds 32 windows (2 channels, 20 times at 20 Hz) of 8 recordings and 4 ids of patient" in out
    assert f"1 recordings were left out, listed in {store / 'failures.csv'}" in err
    assert "Traceback" not in err
    failures = pd.read_csv(store / "failures.csv")
    assert failures["source"].tolist() == [str(tree / "P1" / "broken.npz")]
    assert "broken.npz" in failures["reason"][0]
    expected = Folder(**STUDY).load(tree, on_error="skip")
    np.testing.assert_array_equal(WindowStore(store).signals, expected.numpy())
    assert WindowStore(store).metadata.equals(expected.metadata)

    loaded.clear()
    record(tree, "P7", 0)
    (tree / "P1" / "broken.npz").unlink()
    record(tree, "P1", 5).rename(tree / "P1" / "broken.npz")
    status, out, err = prepare("--data.root", tree, "--out", store)
    assert status == 0
    assert loaded == ["P1/broken.npz", "P7/0.npz"]
    assert "40 windows" in out
    assert "left out" not in err
    assert not (store / "failures.csv").exists()
    grown = WindowStore(store)
    grown.verify()
    assert grown.metadata["patient"].tolist()[32:] == ["P1"] * 4 + ["P7"] * 4

    loaded.clear()
    assert prepare("--data.root", tree, "--out", store)[0] == 0
    assert loaded == []
    moved = tree.rename(tmp_path / "moved")
    status, out, err = prepare("--data.root", moved, "--out", store)
    assert (status, loaded) == (0, [])
    assert "40 windows" in out


def test_what_changed_is_refused_and_what_vanished_is_said(prepare, tree, tmp_path):
    store = tmp_path / "store"
    assert prepare("--data.root", tree, "--out", store)[0] == 0
    before = (store / "signals.0.bin").read_bytes()
    (tree / "P0" / "0.npz").unlink()
    status, out, err = prepare("--data.root", tree, "--out", store)
    assert status == 0
    assert f"{tree / 'P0' / '0.npz'} stays in {store}" in err
    record(tree, "P2", 1, seconds=6)
    status, _, err = prepare("--data.root", tree, "--out", store)
    assert status == 1
    assert f"{tree / 'P2' / '1.npz'} changed" in sentence(err)
    status, _, err = prepare("--data.root", tree, "--out", store, "--data.study.seconds", "2.0")
    assert status == 1
    assert "prepared in another way" in sentence(err)
    assert (store / "signals.0.bin").read_bytes() == before


def test_the_cache_is_filled_and_found_by_the_module(prepare, tree, tmp_path, loaded):
    (tree / "P1" / "broken.npz").unlink()
    cache = tmp_path / "cache"
    status, out, _ = prepare("--data.root", tree, "--data.cache", cache)
    assert status == 0
    [folder] = cache.iterdir()
    assert f"{folder} holds 32 windows" in out
    loaded.clear()
    module = CohortDataModule(Folder(**STUDY), root=str(tree), cache=str(cache), on_error="raise")
    module.setup()
    assert (len(module.data), loaded) == (32, [])


def test_fit_takes_the_store_and_evaluate_another_root(prepare, written, tree, tmp_path, capsys):
    store = tmp_path / "store"
    assert prepare("--data.root", tree, "--out", store)[0] == 0
    shutil.rmtree(tree)
    assert main(["fit", "--config", written, "--data.store", str(store)]) == 0
    run = tmp_path / "run"
    assert main(["embed", "--run", str(run), "--out", str(tmp_path / "e.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "e.csv")) == 32
    record(tree, "P9", 0)
    assert main(["embed", "--run", str(run), "--root", str(tree), "--out", str(tmp_path / "new.csv")]) == 0
    assert set(pd.read_csv(tmp_path / "new.csv")["patient"]) == {"P9"}


def test_what_cannot_work_is_one_sentence(prepare, tree, tmp_path, written, capsys):
    for args, said in [
        ([], "it is not said where the windows are to be kept: give --out STORE"),
        (["--out", tmp_path / "s", "--backend", "dask"], "say where the cluster's scheduler is"),
        (["--out", tmp_path / "s", "--address", "tcp://here:1"], "give --backend dask as well"),
        (["--out", tmp_path / "s", "--backend", "ray"], "invalid choice: 'ray'"),
        (["--out", tmp_path / "s", "--data.rot", "x"], "rot"),
        (["--out", tmp_path / "s", "--data.root", tmp_path / "nowhere"], "nowhere does not exist"),
        (["--out", tmp_path / "s", "--data.root", tree, "--data.study.seconds", "99"], "no recording of 9 sources"),
    ]:
        status, _, err = prepare(*args)
        assert status == 1
        assert said in sentence(err)
    assert main(["prepare", "--out", str(tmp_path / "s")]) == 1
    assert "--config" in sentence(capsys.readouterr().err)


def start(script, *args):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, args)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


SLOW = """
    import sys, time
    from tscl.cli.main import main
    from tscl.data.store import StoreWriter, writer

    writer.COMMIT_SECONDS = 0.0
    commit = StoreWriter.commit
    StoreWriter.commit = lambda self: (commit(self), time.sleep(0.3))
    sys.exit(main(sys.argv[1:]))
"""


def test_killed_and_given_again_it_reads_the_rest_alone(prepare, written, tree, tmp_path, loaded):
    store = tmp_path / "store"
    for patient in range(4, 10):
        record(tree, f"P{patient}", 0)
    process = start(SLOW, "prepare", "--config", written, "--data.root", tree, "--out", store, "--n_jobs", 1)
    while not (store / "index.0" / "000003").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    there = len(WindowStore(store)) // 4
    assert 2 < there < 14
    status, out, _ = prepare("--data.root", tree, "--out", store)
    assert status == 0
    assert "56 windows" in out
    assert len([name for name in loaded if "broken" not in name]) == 14 - there
    WindowStore(store).verify()
    expected = Folder(**STUDY).load(tree, on_error="skip")
    np.testing.assert_array_equal(WindowStore(store).signals, expected.numpy())


def test_on_a_dask_cluster_of_two_workers(prepare, tree, tmp_path):
    distributed = pytest.importorskip("distributed")
    plain, store = tmp_path / "plain", tmp_path / "store"
    assert prepare("--data.root", tree, "--out", plain)[0] == 0
    cluster = distributed.LocalCluster(
        n_workers=2, processes=True, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    )
    with cluster, distributed.Client(cluster):
        address = cluster.scheduler_address
        status, out, err = prepare("--data.root", tree, "--out", store, "--backend", "dask", "--address", address)
        assert status == 0, err
        log = cluster.scheduler.transition_log
        assert len({key for key, begin, end, *_ in log if (begin, end) == ("processing", "memory")}) >= 9
    assert "1 recordings were left out" in err
    assert "32 windows" in out
    np.testing.assert_array_equal(WindowStore(store).signals, WindowStore(plain).signals)
    assert WindowStore(store).metadata.equals(WindowStore(plain).metadata)


def test_no_cluster_at_the_address(prepare, tree, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("tscl.cli.prepare.TIMEOUT", 1)
    options = ("--out", tmp_path / "s", "--backend", "dask", "--address", "tcp://127.0.0.1:1")
    status, _, err = prepare("--data.root", tree, *options)
    assert status == 1
    assert "no Dask scheduler answers at tcp://127.0.0.1:1" in sentence(err)


def test_a_store_of_another_recipe_is_refused_by_the_module(prepare, tree, tmp_path):
    store = tmp_path / "store"
    assert prepare("--data.root", tree, "--out", store)[0] == 0
    for module, said in [
        (CohortDataModule(Folder(**STUDY), store=str(store), preprocessing=Preprocessing()), "in another way"),
        (CohortDataModule(Folder(**{**STUDY, "seconds": 0.5}), store=str(store)), "in another way"),
        (CohortDataModule(Folder(**STUDY), store=str(store), root=str(tree)), "give one of the two"),
    ]:
        with pytest.raises(ValueError, match=said):
            module.setup()
