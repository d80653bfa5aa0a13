"""``tscl sweep``: real searches, stopped, gone on with, and judged on the validation side alone."""

import json
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from sklearn.metrics import f1_score

from tscl.cli.main import main
from tscl.cli.run import open_run
from tscl.cli.study import alone
from tscl.data.datasets import SimulatedECG
from tscl.errors import DataNotFoundError
from tscl.evaluation import LinearProbe, embed

LR, DEPTH = "model.init_args.lr", "model.init_args.encoder.init_args.depth"
SPEECH = Path(__file__).parents[2] / "configs" / "brain_speech" / "simulated.yaml"
SPACE = {LR: {"low": 1e-4, "high": 1e-1, "log": True}, DEPTH: {"low": 1, "high": 3}}
FAST = {"batch_size": 40, "epochs": 1}


@pytest.fixture(scope="module")
def arguments(config):
    """Write a configuration and a space, and return the arguments of a sweep of three trials."""

    def write(folder, space=SPACE, n_trials=3, objective="f1", **fields):
        folder.mkdir(exist_ok=True)
        path = config(folder / "config.yaml", run=folder / "run", **{**FAST, **fields})
        over = folder / "space.yaml"
        over.write_text(yaml.safe_dump({"sweep": {"space": space, "objective": objective}}))
        return ["sweep", "--config", path, "--config", str(over), "--n_trials", str(n_trials)]

    return write


@pytest.fixture(scope="module")
def swept(tmp_path_factory, arguments):
    """A finished sweep of three trials; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("swept")
    assert main(arguments(folder)) == 0
    return folder / "run" / "sweep"


def trials(folder):
    return pd.read_csv(folder / "trials.csv", float_precision="round_trip").drop(columns="seconds")


def sentence(capsys):
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    return line


def test_a_trial_is_a_run_with_the_settings_that_were_drawn(swept):
    table = trials(swept)
    assert table["trial"].tolist() == [0, 1, 2]
    assert table["error"].isna().all()
    assert table[LR].between(1e-4, 1e-1).all()
    assert set(table[DEPTH]) <= {1, 2, 3}
    assert table[[LR, DEPTH]].drop_duplicates().shape == (3, 2)
    for number, lr, depth in zip(table["trial"], table[LR], table[DEPTH], strict=True):
        settings = yaml.safe_load((swept / f"trial_{number:04d}" / "config.yaml").read_text())["model"]["init_args"]
        assert settings["lr"] == pytest.approx(lr, rel=1e-12)
        assert settings["encoder"]["init_args"]["depth"] == depth


def test_the_score_is_that_of_a_probe_of_training_patients_on_validation_patients(swept):
    for number, value in trials(swept)[["trial", "f1"]].itertuples(index=False):
        run = open_run(swept / f"trial_{number:04d}")
        split = run.split()
        patients = split.train.metadata["patient"].to_numpy()
        h_train, h_val = (embed(run.encoder, side) for side in (split.train, split.val))
        probe = LinearProbe(class_weight="balanced").fit(h_train, split.train.y, groups=patients)
        predicted = probe.predict_proba(h_val).argmax(axis=1)
        assert value == pytest.approx(f1_score(split.val.y, predicted, average="macro"), abs=1e-6)


def test_the_best_settings_train_the_same_weights_again(swept, tmp_path):
    table = trials(swept)
    best = int(table.loc[table["f1"].idxmax(), "trial"])
    files = ["--config", str(swept / "config.yaml"), "--config", str(swept / "best.yaml")]
    assert main(["fit", *files, "--trainer.default_root_dir", str(tmp_path / "again")]) == 0
    theirs = swept / f"trial_{best:04d}" / "encoder.safetensors"
    assert (tmp_path / "again" / "encoder.safetensors").read_bytes() == theirs.read_bytes()


def test_killed_in_a_trial_it_goes_on_to_the_same_end(tmp_path, arguments, start, swept, capsys):
    words = arguments(tmp_path)
    folder = tmp_path / "run" / "sweep"
    process = start(*words)
    deadline = time.monotonic() + 120
    while not (folder / "trial_0001" / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert len(trials(folder)) == 1

    assert main(words) == 0
    said = capsys.readouterr()
    assert "trial 1 was interrupted" in said.err
    assert not (folder / "trial_0001").exists()
    again, whole = trials(folder), trials(swept)
    assert again["trial"].tolist() == [0, 2, 3]
    pd.testing.assert_frame_equal(again.drop(columns="trial"), whole.drop(columns="trial"), check_exact=True)
    assert f"trial_{again.loc[again['f1'].idxmax(), 'trial']:04d}" in said.out
    assert f"--config {folder / 'best.yaml'}" in said.out

    assert main(words) == 0
    assert trials(folder).equals(again)
    assert not list(folder.rglob("*.tmp"))


def cohort(name):
    return f"{{class_path: {__name__}.{name}, init_args: {{n_patients: 16, n_trials: 3}}}}"


class OtherSignals(SimulatedECG):
    """The cohort with noise in the place of some patients' signals."""

    noisy: tuple[str, ...] = ()

    def load(self, root=None, **options):
        data = super().load(root, **options)
        rows = data.metadata["patient"].isin(self.noisy).to_numpy()
        data.signals = np.array(data.signals)
        data.signals[data.rows[rows]] = np.random.default_rng(1).normal(size=data.signals[data.rows[rows]].shape)
        return data


def test_test_patients_change_nothing(tmp_path, arguments, swept, monkeypatch):
    tested = json.loads((swept / "trial_0000" / "split.json").read_text())["test"]["ids"]
    assert tested
    monkeypatch.setattr(OtherSignals, "noisy", tuple(tested))
    assert main(arguments(tmp_path, study=cohort("OtherSignals"))) == 0
    folder = tmp_path / "run" / "sweep"
    pd.testing.assert_frame_equal(trials(folder), trials(swept), check_exact=True)
    for number in range(3):
        ours, theirs = (one / f"trial_{number:04d}" / "encoder.safetensors" for one in (folder, swept))
        assert ours.read_bytes() == theirs.read_bytes()
    data = open_run(folder / "trial_0000").split().test.numpy()
    assert not np.array_equal(data, open_run(swept / "trial_0000").split().test.numpy())


CHANGES = {
    "space": ({"space": {**SPACE, DEPTH: {"low": 1, "high": 4}}}, f"another space.{DEPTH}.high"),
    "objective": ({"objective": "auroc"}, "another objective"),
    "configuration": ({"epochs": 2}, "another configuration.trainer.max_epochs"),
    "data": ({"study": "{class_path: tscl.data.datasets.SimulatedECG, init_args: {n_patients: 16}}"}, "another"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_begun_otherwise_is_not_gone_on_with(tmp_path, arguments, swept, capsys, change):
    fields, said = CHANGES[change]
    shutil.copytree(swept, tmp_path / "run" / "sweep")
    assert main(arguments(tmp_path, **fields)) == 1
    assert said in sentence(capsys)
    assert trials(tmp_path / "run" / "sweep").equals(trials(swept))


def test_other_signals_in_the_same_files_are_noticed(tmp_path, arguments, capsys, monkeypatch, swept):
    words = arguments(tmp_path, study=cohort("OtherSignals"), n_trials=1)
    assert main(words) == 0
    trained = json.loads((swept / "trial_0000" / "split.json").read_text())["train"]["ids"]
    monkeypatch.setattr(OtherSignals, "noisy", tuple(trained[:3]))
    assert main(words) == 1
    assert "another data.training." in sentence(capsys)


MISTAKES = {
    "unknown setting": ({"model.init_args.lrr": {"low": 0.1, "high": 1.0}}, "f1", "'lrr' is not accepted"),
    "choice of the wrong type": ({DEPTH: [1, "many"]}, "f1", "Expected a <class 'int'>"),
    "low above high": ({LR: {"low": 1.0, "high": 0.1}}, "f1", f"range of {LR}"),
    "unknown word of a range": ({LR: {"low": 0.1, "high": 1.0, "lgo": True}}, "f1", f"space of {LR} is"),
    "a setting and its part": ({"model.init_args": [{}], LR: [0.1]}, "f1", f"{LR}, a part of it"),
    "no such entry": ({"model.init_args.heads.4.init_args.weight": [0.1]}, "f1", "4 is no entry of a list of 4"),
    "part of a value": ({f"{LR}.first": [0.1]}, "f1", "first would be a part of the single value 0.001"),
    "no choice": ({LR: []}, "f1", f"space of {LR} is []"),
    "unknown objective": (SPACE, "f2", "the objective is 'f2': choose among accuracy"),
    "forecasts of windows": (SPACE, "mse", "mse judges forecasts of a series"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_before_anything_is_written(tmp_path, arguments, capsys, mistake):
    space, objective, said = MISTAKES[mistake]
    assert main(arguments(tmp_path, space=space, objective=objective)) == 1
    assert said in sentence(capsys)
    assert not (tmp_path / "run").exists()


def test_a_trial_that_cannot_be_is_passed_over(tmp_path, arguments, capsys):
    same = "tscl.augmenters.Identity"
    views = [{"clean": same, "masked": same}, {"other": same}]
    words = arguments(tmp_path, space={"model.init_args.views": views}, n_trials=4)
    assert main(words) == 0
    table = trials(tmp_path / "run" / "sweep")
    failed = table[table["error"].notna()]
    assert 0 < len(failed) < 4
    assert failed["error"].str.contains("asks for the view").all()
    assert failed["f1"].isna().all()
    kept = {path.name for path in (tmp_path / "run" / "sweep").glob("trial_*")}
    assert kept == {f"trial_{number:04d}" for number in table.loc[table["f1"].notna(), "trial"]}
    assert f"4 trials, {len(failed)} of them failed" in capsys.readouterr().out


def test_a_sweep_keeps_its_split_and_says_why_all_failed(tmp_path, arguments, capsys):
    assert main(arguments(tmp_path, space={"data.init_args.split.seed": [1, 2]}, n_trials=2)) == 1
    said = sentence(capsys)
    assert "none of 2 trials succeeded" in said
    assert "others on the sides of the split" in said
    assert not list((tmp_path / "run" / "sweep").glob("trial_*"))
    assert not (tmp_path / "run" / "sweep" / "best.yaml").exists()


def test_entries_of_lists_and_mappings_are_varied_and_the_others_stay(tmp_path, arguments):
    weight, kind = "model.init_args.heads.2.init_args.weight", "model.init_args.views.masked.init_args.kind"
    space = {weight: {"low": 2, "high": 9}, kind: ["binomial"], "data.init_args.split.test": [0.3]}
    assert main(arguments(tmp_path, space=space, n_trials=1)) == 0
    folder = tmp_path / "run" / "sweep"
    drawn = trials(folder)[weight].item()
    base, over = (yaml.safe_load((folder / name).read_text()) for name in ("config.yaml", "best.yaml"))
    ours = yaml.safe_load((folder / "trial_0000" / "config.yaml").read_text())
    assert [head["init_args"]["weight"] for head in ours["model"]["init_args"]["heads"]] == [0.25, 0.25, drawn, 0.25]
    assert ours["model"]["init_args"]["views"]["masked"]["init_args"]["kind"] == "binomial"
    assert ours["model"]["init_args"]["views"].keys() == base["model"]["init_args"]["views"].keys()
    assert over["model"]["init_args"].keys() == {"heads", "views"}
    assert over["data"] == {"init_args": {"split": base["data"]["init_args"]["split"]}}
    files = ["--config", str(folder / "config.yaml"), "--config", str(folder / "best.yaml")]
    assert main(["fit", *files, "--trainer.default_root_dir", str(tmp_path / "again")]) == 0
    theirs = folder / "trial_0000" / "encoder.safetensors"
    assert (tmp_path / "again" / "encoder.safetensors").read_bytes() == theirs.read_bytes()


def test_a_logged_value_is_judged_by(tmp_path, arguments, capsys):
    assert main(arguments(tmp_path, objective="train/loss", n_trials=2)) == 0
    folder = tmp_path / "run" / "sweep"
    table = trials(folder)
    last = [pd.read_csv(folder / f"trial_{n:04d}" / "metrics.csv")["train/loss"].iloc[-1] for n in table["trial"]]
    np.testing.assert_allclose(table["train/loss"], last)
    best = yaml.safe_load((folder / "best.yaml").read_text())
    assert best["model"]["init_args"]["lr"] == pytest.approx(table.loc[table["train/loss"].idxmin(), LR], rel=1e-12)
    assert main(arguments(tmp_path / "other", objective="val/loss", n_trials=1)) == 1
    said = sentence(capsys)
    assert "training logs no 'val/loss', only " in said
    assert "train/alignment" in said


def test_one_process_at_a_time_and_one_study_a_folder(tmp_path, arguments, swept, capsys):
    shutil.copytree(swept, tmp_path / "run" / "sweep")
    words = arguments(tmp_path)
    with alone(tmp_path / "run" / "sweep"):
        assert main(words) == 1
    assert "another process is sweeping" in sentence(capsys)
    (tmp_path / "run" / "sweep" / "study.db").write_bytes(b"this is no database" * 100)
    assert main(words) == 1
    assert "cannot be opened as the storage" in sentence(capsys)
    (tmp_path / "run" / "sweep" / "study.db").unlink()
    assert main(words) == 1
    assert "holds the trials of another study" in sentence(capsys)


def test_files_that_vanish_are_no_fault_of_the_settings(tmp_path, arguments, monkeypatch, capsys):
    words = arguments(tmp_path, study=cohort("Vanishing"), n_trials=2)
    monkeypatch.setattr(Vanishing, "loads", 2)
    assert main(words) == 1
    assert "is gone" in sentence(capsys)
    assert len(trials(tmp_path / "run" / "sweep")) == 1
    monkeypatch.setattr(Vanishing, "loads", 100)
    assert main(words) == 0
    assert trials(tmp_path / "run" / "sweep")["error"].isna().all()


class Vanishing(SimulatedECG):
    """A cohort that can be read a few times only."""

    loads = 0

    def load(self, root=None, **options):
        if not Vanishing.loads:
            raise DataNotFoundError("the disk is gone.")
        Vanishing.loads -= 1
        return super().load(root, **options)


def test_another_storage_and_a_default_space(tmp_path, config, capsys):
    path = config(tmp_path / "config.yaml", run=tmp_path / "run", **FAST)
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    assert main(["sweep", "--config", path, "--n_trials", "1", "--sweep.storage", url, "--sweep.study", "mine"]) == 0
    [trial] = optuna.load_study(study_name="mine", storage=url).trials
    assert set(trial.params) == {LR, "model.init_args.weight_decay"}
    assert trial.value == pytest.approx(trials(tmp_path / "run" / "sweep")["f1"].item())
    assert not (tmp_path / "run" / "sweep" / "study.db").exists()


def test_without_optuna_it_says_what_to_install(tmp_path, arguments, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(arguments(tmp_path)) == 1
    assert "pip install 'tscl[sweep]'" in sentence(capsys)


def test_a_fit_does_not_look_at_the_space(tmp_path, arguments, capsys):
    words = [word for word in arguments(tmp_path)[1:] if word not in ("--n_trials", "3")]
    assert main(["fit", *words]) == 0
    assert "sweep" not in yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert main(["sweep", *words]) == 1
    assert "n_trials" in sentence(capsys)
    assert main(["sweep", *words, "--n_trials", "0"]) == 1
    assert "--n_trials is 0: ask for at least one trial." in sentence(capsys)


def test_a_series_is_judged_by_forecasts_of_its_validation_part(tmp_path):
    rng = np.random.default_rng(0)
    load = np.sin(np.arange(600) * np.pi / 12) + rng.normal(size=600).cumsum() * 0.05
    frame = pd.DataFrame({"date": pd.date_range("2020-01-01", periods=600, freq="1h"), "load": load})
    other = frame.assign(load=np.where(np.arange(600) < 480, load, 1000.0))
    found = []
    for name, table in {"a": frame, "b": other}.items():
        (tmp_path / name).mkdir()
        table.to_csv(tmp_path / name / "series.csv", index=False)
        config = tmp_path / name / "config.yaml"
        config.write_text(SERIES.format(path=tmp_path / name / "series.csv", run=tmp_path / name / "run"))
        assert main(["sweep", "--config", str(config), "--n_trials", "2"]) == 0
        found.append(trials(tmp_path / name / "run" / "sweep"))
    pd.testing.assert_frame_equal(*found, check_exact=True)
    best = yaml.safe_load((tmp_path / "a" / "run" / "sweep" / "best.yaml").read_text())
    assert best["model"]["init_args"]["lr"] == pytest.approx(found[0].loc[found[0]["mse"].idxmin(), LR], rel=1e-12)


SERIES = """\
seed_everything: 0
model:
  class_path: tscl.learners.ContrastiveLearner
  init_args:
    encoder:
      class_path: tscl.encoders.CausalConvEncoder
      init_args: {{dim: 8, hidden: 4, depth: 2, trend_kernels: [1, 4]}}
    heads:
      - {{class_path: tscl.heads.HierarchicalHead, init_args: {{view: crops, weight: 1.0}}}}
    views:
      crops: tscl.augmenters.OverlappingCrops
data:
  class_path: tscl.data.SeriesDataModule
  init_args: {{path: {path}, target: load, horizons: [6, 24], window: 33, stride: 8, batch_size: 16}}
trainer:
  accelerator: cpu
  default_root_dir: {run}
  max_epochs: 1
  enable_progress_bar: false
"""


def test_speech_is_judged_by_the_loss_of_the_weights_that_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    small = {
        "data.study.n_subjects": 2, "data.study.n_sessions": 1, "data.study.minutes": 2, "data.seconds": 1.5,
        "data.train_stride": 0.5, "data.n_jobs": 1, "data.cache": tmp_path / "cache", "model.encoder.hidden": 8,
        "model.encoder.virtual": 6, "trainer.max_epochs": 2, "trainer.limit_train_batches": 2,
        "trainer.accelerator": "cpu", "trainer.enable_progress_bar": "false", "trainer.default_root_dir": tmp_path,
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in small.items()]
    assert main(["sweep", "--config", str(SPEECH), *words, "--n_trials", "1"]) == 0
    metrics = pd.read_csv(tmp_path / "sweep" / "trial_0000" / "metrics.csv")
    assert trials(tmp_path / "sweep")["val/loss"].item() == pytest.approx(metrics["val/loss"].min(), rel=1e-6)
    assert not (tmp_path / "sweep" / "trial_0000" / "results").exists()
