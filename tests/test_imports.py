import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import tscl

PACKAGE = Path(tscl.__file__).parent
HEAVY = [
    "lightning",
    "tsai",
    "fastai",
    "sktime",
    "mne",
    "sklearn",
    "scipy",
    "matplotlib",
    "wfdb",
    "neurokit2",
    "triton",
]
CORE = ["types", "functional", "losses", "heads", "encoders", "augmenters"]


def run(code: str) -> dict:
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


def test_import_is_light_and_quick_beside_torch():
    code = (
        "import json, sys, time; import torch; before = time.perf_counter(); import tscl;"
        "took = time.perf_counter() - before;"
        f"print(json.dumps({{'took': took, 'heavy': [m for m in {HEAVY!r} if m in sys.modules]}}))"
    )
    result = run(code)
    assert result["heavy"] == []
    assert result["took"] < 1.0


def test_the_core_needs_torch_alone():
    """One process imports one package after the other, and says what each of them brought along."""
    code = (
        "import importlib, json, sys\n"
        "brought = {}\n"
        f"for package in {CORE!r}:\n"
        "    p = importlib.import_module(f'tscl.{package}')\n"
        "    [getattr(p, name) for name in getattr(p, '__all__', dir(p))]\n"
        f"    brought[package] = [m for m in {[*HEAVY, 'pandas']!r} if m in sys.modules]\n"
        "print(json.dumps(brought))"
    )
    assert run(code) == {package: [] for package in CORE}


def lazy_packages() -> list[str]:
    return sorted(
        ".".join(("tscl", *init.parent.relative_to(PACKAGE).parts))
        for init in PACKAGE.rglob("__init__.py")
        if "lazy" in init.read_text()
    )


@pytest.mark.parametrize("name", lazy_packages())
def test_every_public_name_resolves(name):
    module = __import__(name, fromlist=["x"])
    for public in module.__all__:
        assert getattr(module, public) is not None


def test_no_file_is_longer_than_five_hundred_lines():
    long = {str(p): n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 500}
    assert long == {}


def test_no_pickle_is_read_anywhere():
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not any(n.split(".")[0] in {"pickle", "dill", "cloudpickle"} for n in names), path
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg == "allow_pickle":
                        assert keyword.value.value is False, path
                    if keyword.arg == "weights_only":
                        assert keyword.value.value is True, path
