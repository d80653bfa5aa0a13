"""Every command but ``fit``, on a finished run."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import tscl as package
from tscl.cli.demo import FINETUNE
from tscl.cli.main import main


def seen_and_unseen(run):
    manifest = json.loads((run / "split.json").read_text())
    return manifest["train"]["ids"], manifest["test"]["ids"]


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run, to be written to."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_evaluate(run, tscl, capsys):
    fast = ["--seeds", "[0]", "--finetune_epochs", "2", "--accelerator", "cpu"]
    code, out, err = tscl("evaluate", "--run", run, *fast)
    assert code == 0, err
    results = pd.read_csv(run / "results" / "results.csv")
    assert set(results["model"]) >= {"random weights"}
    assert set(results["method"]) == {"probe", "finetune"}
    assert set(results["unit"]) == {"window", "patient"}
    text = (run / "results" / "results.md").read_text()
    _, unseen = seen_and_unseen(run)
    assert all(patient in text for patient in unseen)
    assert text.strip().splitlines()[-1] in out
    card = (run / "model_card.md").read_text()
    assert "# Model card" in card
    assert card.count("## Results") == 1

    assert main(["evaluate", "--run", str(run), "--methods", "[probe]", "--baselines", "false", *fast]) == 0
    again = pd.read_csv(run / "results" / "results.csv")
    assert set(again["method"]) == {"probe"}
    assert "random weights" not in set(again["model"])
    card = (run / "model_card.md").read_text()
    assert card.count("## Results") == 1
    assert "finetune" not in card.split("## Results")[1]

    seen, unseen = seen_and_unseen(run)
    capsys.readouterr()
    probe = ["evaluate", "--run", str(run), "--methods", "[probe]", "--baselines", "false", *fast]
    assert main([*probe, "--patients", json.dumps([*seen[:2], *unseen])]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert seen[0] in errors[0]
    assert pd.read_csv(run / "results" / "results.csv").equals(again)
    assert main([*probe, "--patients", json.dumps([*seen[:2], *unseen]), "--allow_seen", "true"]) == 0
    assert seen[0] in (run / "results" / "results.md").read_text()
    assert main([*probe, "--patients", "[nobody]"]) == 1
    assert "nobody" in capsys.readouterr().err


def test_embed(run, tmp_path, tscl, capsys):
    out = tmp_path / "embeddings.parquet"
    code, _, err = tscl("embed", "--run", run, "--out", out)
    assert code == 0, err
    table = pd.read_parquet(out)
    assert len(table) == 240
    assert not table.duplicated(["trial", "onset"]).any()
    assert {"patient", "trial", "disease", "onset", "source", "split"} <= set(table.columns)
    manifest = json.loads((run / "split.json").read_text())
    for side in ("train", "val", "test"):
        assert set(table.loc[table["split"] == side, "patient"]) == set(manifest[side]["ids"])
    values = table.filter(like="embedding_").to_numpy()
    assert values.shape == (240, 8)
    assert values.dtype == np.float32
    assert values.std(axis=0).min() > 0

    csv = tmp_path / "embeddings.csv"
    assert main(["embed", "--run", str(run), "--out", str(csv), "--batch_size", "7"]) == 0
    np.testing.assert_allclose(pd.read_csv(csv).filter(like="embedding_"), values, atol=1e-5)

    for args, said in {
        ("--run", str(run), "--out", "table.xlsx"): ".parquet or .csv",
        ("--run", str(tmp_path), "--out", str(csv)): "holds no run",
        ("--run", str(run)): "out",
        ("--run", str(run), "--out", str(csv), "--bogus", "1"): "bogus",
    }.items():
        capsys.readouterr()
        assert main(["embed", *args]) == 1
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
        assert len(errors) == 1
        assert said in errors[0]

    (run / "encoder.safetensors").write_bytes(b"damaged")
    assert main(["embed", "--run", str(run), "--out", str(csv)]) == 1
    assert "is damaged" in capsys.readouterr().err


def test_datasets_says_what_is_found_where(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("TSCL_DATA", raising=False)
    (tmp_path / "ludb" / "data").mkdir(parents=True)
    (tmp_path / "ludb" / "data" / "1.hea").touch()
    (tmp_path / "ludb" / "ludb.csv").touch()
    assert main(["datasets", "--root", str(tmp_path)]) == 0
    said = capsys.readouterr().out.split("\n\n")
    by_name = {block.splitlines()[0]: block for block in said if block.strip()}
    assert f"found: {tmp_path / 'ludb'}" in by_name["ludb"]
    assert "found: no" in by_name["ptb"]
    assert "no files needed" in by_name["simulated_ecg"]
    assert len(by_name) >= 10


def test_demo_goes_the_whole_way(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(FINETUNE, "max_epochs", 1)
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--epochs", "1"]) == 0
    table = pd.read_csv(out / "results.csv")
    assert {"COMET", "random weights"} <= set(table["model"])
    assert sorted(set(table["fraction"])) == [0.01, 0.1, 1.0]
    assert (out / "results.md").read_text() in capsys.readouterr().out + "\n"
    assert len(list(out.glob("*.png"))) >= 3
    assert "Leakage statement" in (out / "report.html").read_text()
    assert package.COMET.from_pretrained(out / "model").transform(np.zeros((2, 4, 128), "float32")).shape[0] == 2
    assert main(["demo", "--out", str(out)]) == 1
    assert "is not empty" in capsys.readouterr().err


def test_usage_and_versions(tscl, capsys, tmp_path):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == package.__version__
    assert main([]) == 0
    assert "tscl evaluate" in capsys.readouterr().out
    assert main(["fti"]) == 2
    assert "there is no command 'fti'" in capsys.readouterr().err
    with pytest.raises(package.errors.DataNotFoundError):
        main(["embed", "--run", str(tmp_path), "--out", "table.csv", "--debug"])
    (tmp_path / "full").touch()
    code, out, err = tscl("demo", "--out", tmp_path)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("error:")
    assert "Traceback" not in err
