import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from page import page, spread  # noqa: E402
from parts import PARTS, TARGETS, value_of  # noqa: E402


@pytest.fixture
def here(monkeypatch, capsys):
    """Run a script as a command, in this process: ``here("run.py", ...)`` returns what it printed."""

    def run(script: str, *words: str) -> str:
        path = ROOT / "benchmarks" / script
        monkeypatch.setattr(sys, "argv", [str(path), *words])
        monkeypatch.syspath_prepend(path.parent)
        status = None
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            status = end.code
        assert not status, status
        return capsys.readouterr().out

    return run


def result(rows: list[dict], quick: bool = False, cpu: str = "a CPU") -> str:
    about = {"quick": quick, "command": "benchmarks/speed/x.py", "date": "2026-01-01", "took": 2.0, "load": "0.1"}
    measured = {"how": "two rounds", "other": "the plain one", "threads": 1, "rows": rows}
    return json.dumps({**about, "machine": {"CPU": cpu, "cores": "2"}, "versions": {"tscl": "1"}, **measured})


def row(what: str, unit: str, ours: list[float], other: list[float], more: bool = False) -> dict:
    return {"what": what, "unit": unit, "ours": ours, "other": other, "more": more}


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("quick")
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--quick", "--only", "loss_memory"]
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def test_a_part_writes_its_result_and_the_page(quick):
    text = (quick / "benchmarks.md").read_text()
    measured = json.loads((quick / "results" / "speed" / "loss_memory.json").read_text())
    assert [path.name for path in quick.glob("results/speed/*")] == ["loss_memory.json"]
    assert set(measured["versions"]) == {"tscl", "commit", "Python", "torch", "numpy", "mne"}
    for said in (*measured["machine"].values(), *measured["versions"].values(), measured["date"], "Small sizes"):
        assert said in text
    figures = {(one["what"], one["unit"]): one for one in measured["rows"]}
    seconds = figures["info_nce, N = 512", "s"]
    assert seconds["ours"][0] > 0
    assert seconds["other"][0] > 0
    cells = ["info_nce, N = 512", "s", *map(spread, (seconds["ours"], seconds["other"], value_of(seconds, "ratio")))]
    assert "| " + " | ".join(cells) + " |" in text
    assert figures["info_nce, N = 512", "relative difference of the gradient"]["ours"][0] < 1e-4


def test_what_was_measured_at_this_commit_is_not_measured_again(quick, here):
    path = quick / "results" / "speed" / "loss_memory.json"
    before = path.read_bytes()
    said = here("run.py", "--quick", "--resume", "--only", "loss_memory", "store_loaders", "--out", str(quick))
    assert "loss_memory: was measured at this commit" in said
    assert "store_loaders: left out, give `--data DIR`" in said
    assert path.read_bytes() == before


def test_a_page_without_results_has_a_reason_for_every_part_and_no_figure(tmp_path):
    text = page(tmp_path, gpu=False)
    for part in PARTS:
        [section] = re.findall(rf"^## {re.escape(part.title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        command = f"run `python benchmarks/run.py --only {part.name}`"
        assert ("no GPU was at hand" if part.on_gpu else command) in section
        lines = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
        assert len(lines) == sum(one.part == part.name for one in TARGETS)
        for line in lines:
            assert line[2].startswith("not measured")
            assert line[3:5] == ["", ""]
    assert "DL4mHealth/COMET" in text
    assert "eegmat" in text


def test_figures_are_held_against_their_targets(tmp_path):
    step = [row("B = 256", "s a step", [2.0, 4.0, 1.0], [9.0, 8.0, 8.0])]
    (tmp_path / "comet_step.json").write_text(result(step))
    mne = "{} workers; other: mne, not preloaded".format
    rates = [row(mne(0), "windows/s", [600.0], [100.0], True), row(mne(2), "windows/s", [499.0], [100.0], True)]
    (tmp_path / "store_loaders.json").write_text(result(rates, cpu="another CPU"))
    text = page(tmp_path, gpu=False)
    assert "| B = 256 | s a step | 2 (1 to 4) | 8 (8 to 9) | 4.5 (2 to 8) | 4 times: reached |" in text
    assert "| B = 256 | MB, default allocator | not measured: the run did not have it |" in text
    assert f"| {mne(0)} | windows/s | 600 | 100 | 6 | 5 times: reached |" in text
    assert f"| {mne(2)} | windows/s | 499 | 100 | 4.99 | 5 times: missed |" in text
    assert "| A | a CPU | 2 |\n| B | another CPU | 2 |" in text
    assert "machine B (load 0.1 before)" in text
    assert "Small sizes" not in text


def test_small_sizes_reach_no_target(tmp_path):
    (tmp_path / "comet_step.json").write_text(result([row("B = 256", "s a step", [1.0], [9.0])], quick=True))
    text = page(tmp_path, gpu=False)
    assert "Small sizes" in text
    assert not re.search("reached|missed", text)


def test_one_figure_is_compared_with_every_round():
    assert value_of(row("", "s", [1.0, 2.0], [4.0]), "ratio") == [4.0, 2.0]
    assert value_of(row("", "s", [2.0], [4.0, 6.0]), "ratio") == [2.0, 3.0]
    assert value_of(row("", "s", [2.0], []), "ratio") == []


@pytest.mark.parametrize("script", sorted({part.script for part in PARTS}))
def test_the_arguments_of_every_part_exist(script, here):
    options = set(re.findall(r"--[\w-]+", here(script, "--help")))
    assert "--json" in options
    for part in PARTS:
        if part.script == script:
            assert set(re.findall(r"--[\w-]+", f"{part.full} {part.quick}")) <= options


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_parts_of_a_gpu_are_left_out_without_one(tmp_path, here):
    assert "no GPU is at hand" in here("run.py", "--only", "brain_step_cuda", "--out", str(tmp_path))
    assert not (tmp_path / "results").exists()
