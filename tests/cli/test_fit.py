import json
import shutil

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tscl.cli.main import main
from tscl.encoders import load_encoder


def sentence(capsys):
    """The one line of the error that the command printed."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, lines
    return lines[0]


def weights(run):
    return (run / "encoder.safetensors").read_bytes()


def test_a_run_is_one_folder(finished):
    there = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    expected = {
        "config.yaml", "split.json", "metrics.csv", "checkpoints/last.ckpt", "encoder.safetensors", "encoder.json",
        "figures/training.png", "figures/scores_window.png", "figures/scores_trial.png",
        "figures/scores_patient.png", "model_card.md",
    }  # fmt: skip
    assert expected <= there
    rest = there - expected
    assert rest
    assert all(name.startswith("tensorboard/") for name in rest)


def test_metrics_have_a_row_an_epoch_and_no_stale_values(finished):
    metrics = pd.read_csv(finished / "metrics.csv")
    assert metrics["epoch"].tolist() == [0, 1, 2]
    assert metrics["step"].tolist() == [12, 24, 36]
    parts = metrics[[f"train/{name}" for name in ("observation", "sample", "trial", "patient")]]
    assert (metrics["train/loss"] - 0.25 * parts.sum(axis=1)).abs().max() < 1e-4
    assert metrics["val/f1"].notna().tolist() == [False, True, True]


def test_what_is_in_the_folder_can_be_read(finished):
    settings = yaml.safe_load((finished / "config.yaml").read_text())
    assert settings["seed_everything"] == 0
    assert "ckpt_path" not in settings
    manifest = json.loads((finished / "split.json").read_text())
    sides = [set(manifest[side]["ids"]) for side in ("train", "val", "test")]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 16
    card = (finished / "model_card.md").read_text()
    for said in ("16 patients", "seed: 0", "steps: 36", "torch 2", "P1"):
        assert said in card
    assert "score/" not in card
    assert load_encoder(finished)(torch.zeros(1, 4, 128)).shape == (1, 8, 128)
    checkpoint = torch.load(finished / "checkpoints" / "last.ckpt", weights_only=True)
    saved = load_file(finished / "encoder.safetensors")
    averaged = {name: checkpoint["state_dict"][f"average.module.{name}"] for name in saved}
    assert all(torch.equal(saved[name], averaged[name]) for name in saved)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path, config):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert (
            main(["fit", "--config", config(tmp_path / f"{name}.yaml", run=tmp_path / name, seed=seed, epochs=1)]) == 0
        )
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")
    assert (tmp_path / "a" / "metrics.csv").read_bytes() == (tmp_path / "b" / "metrics.csv").read_bytes()


MISTAKES = {
    "unknown data setting": ("batch_size:", "batch_sise:", "Option 'batch_sise' is not accepted"),
    "unknown encoder setting": ("dim: 8", "dimm: 8", "Option 'dimm' is not accepted"),
    "unknown trainer setting": ("max_epochs", "max_epoks", "'trainer.max_epoks'"),
    "unknown section": ("checkpoint_every", "checkpoint_evry", "'checkpoint_evry'"),
    "unknown head": ("tscl.heads.SampleHead", "tscl.heads.SimpleHead", "No tscl.heads attribute SimpleHead"),
    "unknown learner": ("learners.ContrastiveLearner", "learners.Nothing", "No tscl.learners attribute Nothing"),
    "unknown study": ("datasets.SimulatedECG", "datasets.Nope", "No tscl.data.datasets attribute Nope"),
    "package that is not installed": ("tscl.data.CohortDataModule", "mypackage.Data", "No module named 'mypackage'"),
    "value of the wrong type": ("batch_size: 12", "batch_size: many", "Expected a <class 'int'>. Got value: many"),
    "value out of range": ("batch_size: 12", "batch_size: 0", "batch_size is 0"),
    "level that the data lack": ("level: trial", "level: session", "needs session ids"),
    "view that is not there": ("clean: tscl", "plain: tscl", "asks for the view 'clean'"),
    "one patient": ("n_patients: 16", "n_patients: 1", "1 patients"),
    "no YAML": ("heads:", "heads: [", "parsing"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_the_configuration(tmp_path, config, capsys, mistake):
    right, wrong, said = MISTAKES[mistake]
    path = tmp_path / "config.yaml"
    config(path, run=tmp_path / "run")
    assert right in path.read_text()
    path.write_text(path.read_text().replace(right, wrong, 1))
    assert main(["fit", "--config", str(path)]) == 1
    assert said in sentence(capsys)
    assert not (tmp_path / "run").exists()


FOLDER = "{class_path: tscl.data.datasets.Folder, init_args: {patient: file}}"


def test_missing_files(tmp_path, config, capsys):
    path = config(tmp_path / "config.yaml", run=tmp_path / "run", study=FOLDER)
    (tmp_path / "empty").mkdir()
    for args, said in {
        ("--config", str(tmp_path / "none.yaml")): "none.yaml",
        ("--config", path): "no folder was given",
        ("--config", path, "--data.root", str(tmp_path / "empty")): "is empty",
        ("--config", path, "--data.root", str(tmp_path / "absent")): "does not exist",
        ("--config", path, "--data.bogus", "1"): "'bogus' is not accepted",
        ("--config", path, "--ckpt_path", "last"): "there is nothing to resume",
        ("--config", path, "--trainer.default_root_dir", "null"): "the run needs a folder",
    }.items():
        assert main(["fit", *args]) == 1
        assert said in sentence(capsys)
    assert not (tmp_path / "run").exists()


def test_no_configuration_at_all(capsys):
    assert main(["fit"]) == 1
    assert "data" in sentence(capsys)


def test_a_finished_run_is_not_overwritten_and_resuming_it_changes_nothing(finished, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    again = ["fit", "--config", str(run / "config.yaml"), "--trainer.default_root_dir", str(run)]
    before = {
        name: (run / name).read_bytes() for name in ("encoder.safetensors", "metrics.csv", "checkpoints/last.ckpt")
    }
    assert main(again) == 1
    assert "holds a run already" in sentence(capsys)
    assert main([*again, "--ckpt_path", "last"]) == 0
    assert "had finished before" in capsys.readouterr().err
    assert all((run / name).read_bytes() == content for name, content in before.items())

    (run / "encoder.safetensors").unlink()
    (run / "model_card.md").unlink()
    assert main([*again, "--ckpt_path", "last"]) == 0
    assert weights(run) == before["encoder.safetensors"]
    assert (run / "model_card.md").exists()

    assert main([*again, "--ckpt_path", "last", "--trainer.max_epochs", "4"]) == 0
    assert pd.read_csv(run / "metrics.csv")["epoch"].tolist() == [0, 1, 2, 3]


def test_what_cannot_be_resumed(finished, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    again = ["fit", "--config", str(run / "config.yaml"), "--trainer.default_root_dir", str(run), "--ckpt_path", "last"]
    kept = {name: (run / name).read_bytes() for name in ("config.yaml", "split.json", "checkpoints/last.ckpt")}
    more = [*again, "--trainer.max_epochs", "4"]
    for options, said in {
        ("--data.split.seed", "1"): "split are not those of the checkpoint",
        ("--model.encoder.dim", "16"): "holds another model",
    }.items():
        assert main([*more, *options]) == 1
        assert said in sentence(capsys)
        assert all((run / name).read_bytes() == content for name, content in kept.items())

    last = run / "checkpoints" / "last.ckpt"
    last.write_bytes(kept["checkpoints/last.ckpt"][:-1000])
    assert main(more) == 1
    assert "last.ckpt is damaged" in sentence(capsys)
    last.write_bytes(b"no checkpoint")
    assert main(more) == 1
    assert "last.ckpt is damaged" in sentence(capsys)
