"""The commands on a run that matches brain signals with speech."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tscl.cli.main import main

CONFIG = Path(__file__).parents[2] / "configs" / "brain_speech" / "simulated.yaml"
SMALL = {
    "data.study.n_subjects": 2,
    "data.study.n_sessions": 1,
    "data.study.minutes": 2,
    "data.seconds": 1.5,
    "data.train_stride": 0.5,
    "data.n_jobs": 1,
    "model.encoder.hidden": 8,
    "model.encoder.virtual": 6,
    "trainer.max_epochs": 1,
    "trainer.limit_train_batches": 2,
    "trainer.accelerator": "cpu",
    "trainer.enable_progress_bar": "false",
}


def arguments(run, cache, **settings):
    given = {**SMALL, "trainer.default_root_dir": run, "data.cache": cache, **settings}
    return ["fit", "--config", str(CONFIG), *(f"--{name}={value}" for name, value in given.items())]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder for this module's runs, and for the synthetic speech that would go to the user's cache."""
    folder = tmp_path_factory.mktemp("speech")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "home"))
        yield folder


@pytest.fixture(scope="module")
def trained(home, tscl):
    """A finished run, by the command itself; tests leave it as it is."""
    code, out, err = tscl(*arguments(home / "run", home / "cache"))
    assert code == 0, err
    assert "Traceback" not in err
    return home / "run", out


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained[0], tmp_path / "run")
    return tmp_path / "run"


def synthetic(home):
    [folder] = (home / "home" / "tscl").iterdir()
    return folder


def errors(text):
    return [line for line in text.splitlines() if line.startswith("error:")]


def test_fit_trains_and_reports(trained, home):
    run, out = trained
    manifest = json.loads((run / "split.json").read_text())
    assert manifest["subjects"] == ["S1", "S2"]
    sides = [set(manifest[side]["ids"]) for side in ("train", "val", "test")]
    assert all(sides)
    assert sum(map(len, sides)) == len(set.union(*sides))
    metrics = pd.read_csv(run / "metrics.csv")
    assert metrics[["train/loss", "val/loss", "val/accuracy"]].notna().all(axis=None)
    queries = pd.read_csv(run / "results" / "queries.csv")
    n = manifest["test"]["segments"]
    assert len(queries) == manifest["test"]["windows"]
    assert queries["rank"].between(1, n).all()
    card = (run / "model_card.md").read_text()
    assert f"Candidates: {n} distinct segments of sound" in card
    assert "all windows of the same stretch of sound, of whichever subject or session, share one candidate" in card
    assert "Tested on speech that was never heard in training." in card
    text = card.split("## Results")[1]
    chance = next(line for line in text.splitlines() if line.startswith("| chance"))
    assert "top-1 | top-5 | top-10" in text
    assert chance.startswith(f"| chance | {1 / n:.3f} | {5 / n:.3f} | {10 / n:.3f} | 0.500 |")
    assert "| this run | S1 | " in text
    assert chance in out
    assert {path.name for path in (run / "results").glob("*.png")} == {
        "ranks.png",
        "subjects.png",
        "examples.png",
        "attention_S1.png",
        "attention_S2.png",
    }
    assert (run / "figures" / "training.png").stat().st_size > 1000
    assert (run / "figures" / "scores_speech.png").stat().st_size > 1000
    assert metrics[[f"score/speech/{side}_q50" for side in ("positive", "negative")]].notna().all(axis=None)
    assert {path.suffix for path in synthetic(home).iterdir()} == {".wav", ".tsv"}


def test_a_report_tells_what_was_heard(run):
    assert main(["report", "--run", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert "By sequence: no id stands on two sides." in page
    assert "Tested on speech that was never heard in training." in page
    assert "<td>chance</td>" in page
    drawn = [*run.glob("figures/*.png"), *run.glob("results/*.png")]
    assert page.count("<img src=") == len([path for path in drawn if path.name != "training.png"]) == 6


def test_evaluate_adds_the_linear_baseline(run, capsys):
    before = pd.read_csv(run / "results" / "queries.csv")
    assert main(["evaluate", "--run", str(run), "--accelerator", "cpu"]) == 0
    queries = pd.read_csv(run / "results" / "queries.csv")
    assert set(queries["model"]) == {"this run", "linear backward model"}
    ours = queries[queries["model"] == "this run"].reset_index(drop=True)
    np.testing.assert_allclose(ours["rank"], before["rank"])
    linear = queries.loc[queries["model"] == "linear backward model", "rank"]
    assert linear.mean() < 0.6 * (json.loads((run / "split.json").read_text())["test"]["segments"] + 1) / 2
    text = (run / "results" / "results.md").read_text()
    assert "| linear backward model | S2 |" in text
    assert text.strip().splitlines()[-1] in capsys.readouterr().out
    card = (run / "model_card.md").read_text()
    assert card.count("## Results") == 1
    assert "| linear backward model | 0." in card
    assert main(["evaluate", "--run", str(run), "--baselines", "false", "--ks", "[2,3]", "--accelerator", "cpu"]) == 0
    text = (run / "results" / "results.md").read_text()
    assert "top-2 | top-3" in text
    assert "linear" not in text


def test_embed_writes_a_row_a_window(run, tmp_path, capsys):
    out = tmp_path / "table.parquet"
    assert main(["embed", "--run", str(run), "--out", str(out), "--accelerator", "cpu"]) == 0
    table = pd.read_parquet(out)
    values = table.filter(like="embedding_").to_numpy()
    assert values.shape == (len(table), 40)
    assert np.isfinite(values).all()
    assert {"patient", "word", "sequence", "sound", "sound_onset", "onset", "segment", "split"} <= set(table.columns)
    manifest = json.loads((run / "split.json").read_text())
    for side in ("train", "val", "test"):
        assert set(table.loc[table["split"] == side, "sequence"]) <= set(manifest[side]["ids"])
    assert set(table["split"]) == {"train", "val", "test"}
    assert f"{len(table)} windows x 40 dimensions" in capsys.readouterr().out
    assert main(["embed", "--run", str(run), "--out", str(tmp_path / "table.xlsx")]) == 1
    assert ".parquet or .csv" in capsys.readouterr().err


def test_speech_that_was_trained_on_is_no_test(run, home, tmp_path, capsys):
    """Another folder holds one of the run's sounds, and one that the run never heard."""
    folder = tmp_path / "other"
    folder.mkdir()
    for new, old in {"speech00": "speech00", "unheard": "speech01"}.items():
        for suffix in (".wav", ".tsv"):
            shutil.copy(synthetic(home) / f"{old}{suffix}", folder / f"{new}{suffix}")
    command = ["evaluate", "--run", str(run), "--speech", str(folder), "--accelerator", "cpu"]
    before = (run / "model_card.md").read_text()
    assert main(command) == 1
    [said] = errors(capsys.readouterr().err)
    assert "the run was trained on" in said
    assert "speech00/s0" in said
    assert "--allow_seen true" in said
    assert (run / "model_card.md").read_text() == before
    assert main([*command, "--allow_seen", "true"]) == 0
    text = (run / "results" / "results.md").read_text()
    assert "never heard in training" not in text
    assert text.startswith("Heard in training: ")
    assert "sequences of the test speech, speech00/s0" in text

    for path in folder.glob("speech00.*"):
        path.unlink()
    assert main(command) == 0
    assert "Tested on speech that was never heard in training" in (run / "results" / "results.md").read_text()
    out = tmp_path / "new.csv"
    assert main(["embed", "--run", str(run), "--speech", str(folder), "--out", str(out), "--accelerator", "cpu"]) == 0
    assert set(pd.read_csv(out)["split"]) == {"new"}


def test_a_part_of_the_runs_speech_is_judged_by_what_was_not_heard(run, home, tmp_path, capsys):
    manifest = json.loads((run / "split.json").read_text())
    folder = tmp_path / "part"
    folder.mkdir()
    for path in synthetic(home).glob("*.wav"):
        words = pd.read_csv(path.with_suffix(".tsv"), sep="\t", keep_default_na=False)
        kept = words[(f"{path.stem}/" + words["sequence"]).isin(manifest["test"]["ids"])]
        if len(kept):
            shutil.copy(path, folder)
            kept.to_csv(folder / f"{path.stem}.tsv", sep="\t", index=False)
    command = ["evaluate", "--run", str(run), "--speech", str(folder), "--accelerator", "cpu"]
    assert main(command) == 0
    assert "Tested on speech that was never heard in training" in (run / "results" / "results.md").read_text()

    name = manifest["train"]["ids"][0].split("/")[0]
    shutil.copy(synthetic(home) / f"{name}.wav", folder)
    shutil.copy(synthetic(home) / f"{name}.tsv", folder)
    for path in folder.glob("*"):
        if path.stem != name:
            path.unlink()
    capsys.readouterr()
    assert main(command) == 1
    [said] = errors(capsys.readouterr().err)
    assert "the run was trained on" in said


def test_a_finished_run_is_left_as_it_is(run, home, capsys):
    weights = (run / "encoder.safetensors").read_bytes()
    queries = pd.read_csv(run / "results" / "queries.csv")
    assert main([*arguments(run, home / "cache"), "--ckpt_path=last"]) == 0
    assert "the run had finished before: nothing is left to train" in capsys.readouterr().err
    assert (run / "encoder.safetensors").read_bytes() == weights
    assert pd.read_csv(run / "results" / "queries.csv").equals(queries)
    assert (run / "model_card.md").read_text().count("## Results") == 1
    assert main(arguments(run, home / "cache")) == 1
    assert "holds a run already: resume it with --ckpt_path last" in capsys.readouterr().err
    assert main([*arguments(run, home / "cache", **{"data.test": 0.4}), "--ckpt_path=last"]) == 1
    assert "the data or their split are not those of the checkpoint" in capsys.readouterr().err


WRONG = {
    "data.seconds=0": "lengths and sizes must be positive",
    "data.baseline=2": "the baseline within the window",
    "data.train_stride=-1": "train_stride is -1 s: it must be positive",
    "data.val=0.9": "val=0.9 and test=0.2: shares of the speech",
    "data.block_seconds=1000": "is left for the",
    "data.study.minutes=0": "0 minutes: each must be at least 1",
    "data.speech=nowhere": "nowhere has no WAV files",
    "data.montage=nonsense": "mne has no montage 'nonsense'",
    "data.representation.n_bands=0": "n_bands",
    "data.seconds=100": "not one of",
    "data.bogus=1": "bogus",
    "model.encoder.kernel_size=4": "kernel_size is 4: use an odd number",
    "model.encoder.bogus=1": "bogus",
    "model.loss.temperature=-1": "the temperature is -1",
}


@pytest.mark.parametrize("setting", WRONG)
def test_a_wrong_setting_is_one_sentence_and_leaves_nothing(trained, home, tmp_path, capsys, setting):
    name, value = setting.split("=")
    assert main(arguments(tmp_path / "run", home / "cache", **{name: value})) == 1
    said = errors(capsys.readouterr().err)
    assert len(said) == 1
    assert WRONG[setting] in said[0]
    assert "--debug" not in said[0]
    assert not (tmp_path / "run").exists()


def test_a_run_of_something_else_is_named(run, tmp_path, capsys):
    (run / "encoder.safetensors").write_bytes(b"damaged")
    assert main(["evaluate", "--run", str(run), "--accelerator", "cpu"]) == 1
    assert "is damaged" in errors(capsys.readouterr().err)[0]
    (run / "split.json").unlink()
    assert main(["evaluate", "--run", str(run)]) == 1
    assert "holds no run: split.json is missing" in errors(capsys.readouterr().err)[0]
    assert main(["evaluate", "--run", str(tmp_path / "nowhere")]) == 1
    assert "holds no run" in errors(capsys.readouterr().err)[0]


def test_real_speech(home, shared_data, tmp_path, capsys):
    if not (shared_data / "speech").is_dir():
        pytest.skip("no recorded speech beside the checkout")
    given = arguments(tmp_path / "run", tmp_path / "cache", **{"data.speech": shared_data / "speech"})
    assert main(given) == 0
    ids = json.loads((tmp_path / "run" / "split.json").read_text())["train"]["ids"]
    assert {one.split("/")[0] for one in ids} <= {path.stem for path in (shared_data / "speech").glob("*.wav")}
    card = (tmp_path / "run" / "model_card.md").read_text()
    assert "| chance | 0.0" in card
    assert "distinct segments of sound" in card
