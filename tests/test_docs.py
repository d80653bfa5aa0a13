import importlib
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import griffe
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
FILES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CONFIGS = sorted(ROOT.glob("configs/**/*.yaml"))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = "\n".join(block for page in PAGES for block in blocks(page, "bash")).splitlines()
    return [shlex.split(line) for line in lines if line.startswith("tscl ")]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, name(page), "exec"), namespace)
    assert capsys.readouterr().out


def test_the_readme_example_is_ten_lines():
    [example] = blocks(ROOT / "README.md", "python")
    statements = [line for line in example.splitlines() if line and not line.startswith(("import", "from", " ", ")"))]
    assert "tscl.COMET(" in example
    assert len(statements) <= 10


@pytest.mark.parametrize("page", FILES, ids=name)
def test_links_and_named_files_exist(page):
    text = page.read_text()
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []
    paths = re.findall(r"\b(?:configs|docs|tests|benchmarks)/[\w/]+\.(?:yaml|png|py)\b", text)
    assert [path for path in paths if not (ROOT / path).exists() and not (page.parent / path).exists()] == []


def test_every_page_is_reached_from_the_index():
    index = (ROOT / "docs" / "index.md").read_text()
    assert [page.name for page in ROOT.glob("docs/*.md") if page.name != "index.md" and page.name not in index] == []


def entries(nav: list) -> list[str]:
    """The pages of a navigation, in its order."""
    values = [value for entry in nav for value in entry.values()]
    return [page for value in values for page in (entries(value) if isinstance(value, list) else [value])]


def test_the_navigation_of_the_site_has_every_page_once():
    nav = entries(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")]
    assert sorted(nav) == sorted([*pages, "CHANGELOG.md", "CONTRIBUTING.md"])


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site: a broken link, an unknown name in a docstring or a page left out is an error there."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_shows_the_docstring_of_every_public_name(site):
    anchors = {one for page in site.glob("api/*.html") for one in re.findall(r'\bid="([\w.]+)"', page.read_text())}
    packages = [importlib.import_module(path.stem) for path in ROOT.glob("docs/api/*.md")]
    named = [(package.__name__, one, getattr(package, one)) for package in packages for one in package.__all__]
    named = [(package, one, value) for package, one, value in named if not inspect.ismodule(value)]
    # tscl.data.prepare is a module too, so its function has the path within the module.
    shown = {id(value) for package, one, value in named if {f"{package}.{one}", f"{package}.{one}.{one}"} & anchors}
    assert len(shown) > 200
    assert [f"{package}.{one}" for package, one, value in named if id(value) not in shown] == []


def test_the_site_is_whole_and_fetches_nothing(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        outside = r'<(?:script|img|iframe|link)\b[^>]*(?:src|href)="(?:https?:)?//[^>]*>'
        assert re.findall(outside, text) == [], page
    for page in site.glob("api/*.html"):
        assert re.findall(r":(?:class|func|meth|attr|data|mod|math|ref):(?=<|`)", page.read_text()) == [], page


def test_a_docstring_that_names_nothing_is_a_warning(tmp_path, caplog):
    shutil.copytree(ROOT / "tscl", tmp_path / "tscl", ignore=shutil.ignore_patterns("__pycache__"))
    module = tmp_path / "tscl" / "functional" / "kernels.py"
    module.write_text(module.read_text().replace("AutoTCL uses it", "AutoTCL uses :func:`no_such_name`"))
    extensions = griffe.load_extensions("dataclasses", str(ROOT / "docs" / "docstrings.py"))
    griffe.load(tmp_path / "tscl", search_paths=[tmp_path], extensions=extensions, docstring_parser="numpy")
    [warning] = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert warning == "tscl.functional.kernels.mmd: its docstring names no_such_name, which is not found"


def test_the_two_lines_of_the_readme_are_those_that_ci_runs():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    for marker, end in (("run", "/bin/tscl demo --out tscl-demo"), ("test", "/bin/python -m pytest")):
        [block] = re.findall(rf"^<!-- {marker} -->\n```bash\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
        [line] = block.splitlines()
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -e ")
        assert line.endswith(end)
        assert f"readme_line {marker}" in ci


def test_the_options_of_every_command_in_the_pages_exist():
    from tscl.cli.datasets import list_datasets
    from tscl.cli.demo import demo
    from tscl.cli.embed import embed_run
    from tscl.cli.embed_series import embed_steps
    from tscl.cli.embed_speech import embed_speech
    from tscl.cli.evaluate import evaluate_run
    from tscl.cli.evaluate_anomalies import evaluate_anomalies
    from tscl.cli.evaluate_series import evaluate_series
    from tscl.cli.evaluate_speech import evaluate_speech
    from tscl.cli.export import export_run
    from tscl.cli.prepare import parser
    from tscl.cli.report import report_run

    functions = {
        "evaluate": (evaluate_run, evaluate_series, evaluate_anomalies, evaluate_speech),
        "embed": (embed_run, embed_steps, embed_speech),
        "export": (export_run,),
        "report": (report_run,),
        "datasets": (list_datasets,),
        "demo": (demo,),
    }
    assert {command for _, command, *_ in commands()} == {"fit", "prepare", "sweep", *functions} - {"datasets"}
    for _, command, *args in commands():
        options = [arg[2:] for arg in args if arg.startswith("--")]
        settings = {"config", "data.root", "data.path", "data.label", "data.store", "trainer.default_root_dir"}
        if command == "fit":
            assert set(options) <= {"ckpt_path", *settings}
        elif command == "sweep":
            assert set(options) <= {"n_trials", *settings}
        elif command == "prepare":
            assert set(options) <= {*settings, *(action.dest for action in parser()._actions)}
        else:
            assert any(set(options) <= set(inspect.signature(one).parameters) for one in functions[command])


def base_of(overlay: Path) -> Path:
    """The configuration that an overlay is laid over: the one that it names, or else any of COMET's."""
    named = re.findall(r"configs/[\w/]+\.yaml", overlay.read_text())
    return ROOT / (named[0] if named else "configs/comet/ad.yaml")


@pytest.mark.parametrize("path", [path for path in CONFIGS if path.parent.name == "sweep"], ids=name)
def test_every_sweep_varies_settings_that_exist(path, tmp_path, monkeypatch):
    from tscl.cli.fit import build
    from tscl.cli.search_space import distributions
    from tscl.cli.sweep import SweepCli, check_settings

    monkeypatch.chdir(tmp_path)
    cli = build(["--config", str(base_of(path)), "--config", str(path), "--n_trials", "1"], run=False, kind=SweepCli)
    space = cli.config.sweep.space
    assert len(distributions(space)) == len(space) > 1
    check_settings(cli, space)


def test_every_configuration_builds(tmp_path):
    code = (
        "import sys\nfrom tscl.cli.fit import build\n"
        "for paths in sys.argv[1:]:\n"
        "    cli = build([word for path in paths.split('+') for word in ('--config', path)], run=False)\n"
        "    print(type(cli.model).__name__, type(cli.datamodule).__name__, cli.trainer.default_root_dir)\n"
    )
    overlays = [path for path in CONFIGS if path.parent.name in ("base", "cluster", "sweep")]
    whole = [path for path in CONFIGS if path not in overlays]
    paths = [*map(str, whole), *(f"{base_of(path)}+{path}" for path in overlays)]
    done = subprocess.run([sys.executable, "-c", code, *paths], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    built = [line.split() for line in done.stdout.splitlines()]
    assert len(built) == len(CONFIGS) > 4
    folders = [folder for _, _, folder in built[: len(whole)]]
    assert len(set(folders)) == len(folders), "two configurations would write into one run folder"
