"""``tscl report`` on a finished run of windows; the tests of the other kinds of runs are beside their commands'."""

import json
import shutil

import pandas as pd
import pytest

from tscl.cli.main import main


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run, to be written to."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def content(path):
    """The data that the page draws from."""
    text = path.read_text()
    return json.loads(text.split('<script type="application/json" id="data">')[1].split("</script>")[0])


def report(*args):
    return main(["report", *map(str, args), "--accelerator", "cpu"])


def last_error(capsys):
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    return line


def test_a_run_that_is_not_judged_yet_says_what_to_do(run, tscl):
    code, out, err = tscl("report", "--run", run, "--points", "50")
    assert code == 0, err
    path = run / "report.html"
    assert f"the report is in {path}" in out
    text = path.read_text()
    assert f"tscl evaluate --run {run}" in text
    points = content(path)["points"]
    assert points["shape"][0] in (49, 50)
    assert (points["shape"][1], points["total"]) == (4, 240)
    sides = [points["columns"]["split"]["values"][code] for code in points["columns"]["split"]["codes"]]
    assert sides.count("test") == 25
    losses = content(path)["curves"][0]
    metrics = pd.read_csv(run / "metrics.csv")
    for line in losses["lines"]:
        assert line["values"] == pytest.approx(metrics[line["name"]].tolist())
    assert {"train/observation", "train/sample", "train/trial", "train/patient"} <= {
        line["name"] for line in losses["lines"]
    }
    assert text.count("<b>Passed</b>") == 2
    assert "<b>Failed</b>" not in text
    assert "Seen in training" in text


def test_a_judged_run_is_told_with_its_results(run, tmp_path, capsys):
    fast = ["--seeds", "[0]", "--methods", "[probe]", "--accelerator", "cpu"]
    assert main(["evaluate", "--run", str(run), *fast]) == 0
    summary = pd.read_csv(run / "results" / "summary.csv").set_index(["model", "unit", "metric"])
    patients = pd.read_csv(run / "results" / "patients.csv")
    tested = json.loads((run / "split.json").read_text())["test"]["ids"]
    assert sorted(set(patients["patient"])) == sorted(tested)
    assert len(patients) == 2 * len(tested)
    out = tmp_path / "a.html"
    out.write_text("an older one")
    assert report("--run", run, "--out", out) == 0
    text = out.read_text()
    row = summary.loc[("pretrained", "patient", "auroc")]
    assert f"{row['mean']:.3f}" in text
    assert f"[{row['low']:.2f}, {row['high']:.2f}]" in text
    assert all(f'<th scope="row">{patient}</th>' in text for patient in tested)
    assert f"None of the {len(tested)} patient ids that the results were measured on was seen in training." in text
    assert text.count("Mean ± standard deviation over seeds") == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

    seen = json.loads((run / "split.json").read_text())["train"]["ids"][0]
    allowed = ["--patients", json.dumps([seen, *tested]), "--allow_seen", "true", "--baselines", "false"]
    assert main(["evaluate", "--run", str(run), *fast, *allowed]) == 0
    assert report("--run", run, "--out", out) == 0
    assert f"Training saw 1 of the {len(tested) + 1} patient ids" in out.read_text()
    assert "Not for unseen patients." in out.read_text()


def test_what_cannot_be_told_is_said_in_a_sentence(run, tmp_path, capsys):
    cases = {
        ("--run", tmp_path / "nowhere"): "holds no run",
        ("--run", run, "--out", "report.pdf"): "write to .html",
        ("--run", run, "--out", tmp_path / "no" / "report.html"): "is no folder",
        ("--run", run, "--points", "1"): "at least 2 windows",
        ("--run", run, "--bogus", "1"): "bogus",
    }
    for args, said in cases.items():
        assert report(*args) == 1
        assert said in last_error(capsys)
    (run / "model_card.md").unlink()
    assert report("--run", run) == 1
    assert "unfinished run (model_card.md is missing)" in last_error(capsys)
    assert not (run / "report.html").exists()


def test_without_the_recordings_there_is_no_map(run, tmp_path):
    config = run / "config.yaml"
    text = config.read_text()
    assert "tscl.data.datasets.SimulatedECG" in text
    study = "tscl.data.datasets.LUDB"
    head, tail = text.split("    study:\n", 1)
    rest = tail[tail.index("    root:") :]
    config.write_text(f"{head}    study:\n      class_path: {study}\n{rest.replace('root: null', f'root: {tmp_path}')}")
    assert report("--run", run) == 0
    page = (run / "report.html").read_text()
    assert "the recordings were not found" in page
    assert content(run / "report.html")["points"] is None
    assert report("--run", run, "--root", tmp_path / "other") == 1
