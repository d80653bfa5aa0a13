import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

from tscl.data.datasets import STUDIES

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "tscl",
    "tscl.functional",
    "tscl.losses",
    "tscl.heads",
    "tscl.augmenters",
    "tscl.encoders",
    "tscl.learners",
    "tscl.estimators",
    "tscl.estimators.sktime",
    "tscl.evaluation",
    "tscl.plotting",
    "tscl.data",
    "tscl.data.datasets",
    "tscl.data.readers",
    "tscl.data.preprocessing",
    "tscl.data.speech",
)


def public(package: str) -> dict[str, object]:
    module = importlib.import_module(package)
    return {name: value for name in module.__all__ if not inspect.ismodule(value := getattr(module, name))}


def documented() -> list[tuple[str, object]]:
    named = [(f"{package}.{name}", value) for package in PACKAGES for name, value in public(package).items()]
    return [(name, value) for name, value in named if callable(value)]


def parameters(value: object) -> list[str]:
    """The parameters of a function, or of a class that has a constructor of its own (or fields)."""
    if inspect.isclass(value):
        maker = value.__new__ if hasattr(value, "_fields") else value.__init__
        if issubclass(value, Exception) or not getattr(maker, "__module__", "").startswith(("tscl", "namedtuple")):
            return []
    kinds = (inspect.Parameter.VAR_POSITIONAL,)
    return [name for name, one in inspect.signature(value).parameters.items() if one.kind not in kinds]


def described(value: object) -> set[str]:
    """The names that a docstring's sections Parameters and Attributes describe; of a class and of its bases."""
    texts = [kind.__doc__ or "" for kind in (value.__mro__ if inspect.isclass(value) else [value])]
    pattern = r"^(?:Parameters|Attributes)\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)"
    sections = [s for text in texts for s in re.findall(pattern, inspect.cleandoc(text) + "\n", re.M | re.S)]
    heads = [line.split(" : ")[0] for section in sections for line in section.splitlines() if re.match(r"\S", line)]
    return {name.strip(" *") for head in heads for name in head.split(",")}


@pytest.mark.parametrize(("name", "value"), documented(), ids=[name for name, _ in documented()])
def test_a_public_name_says_what_it_is_and_takes(name, value):
    assert (value.__doc__ or "").strip(), f"{name} has no docstring"
    assert set(parameters(value)) - described(value) == set(), f"{name} takes what its docstring does not describe"


@pytest.mark.parametrize("package", PACKAGES)
def test_the_api_page_names_everything(package):
    page = (ROOT / "docs" / "api.md").read_text()
    [section] = re.findall(rf"^## \[`{re.escape(package)}`\]\(.*?\)\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    listed = re.findall(r"^- \[`(\w+)`\]\(\S+\): \S", section, re.M)
    assert sorted(listed) == sorted(public(package)), "run: python docs/make_api.py"
    details = (ROOT / "docs" / "api" / f"{package}.md").read_text()
    shown = re.findall(r"^(?:::: [\w.]*?|\[`)(\w+)(?:`\]\(\S+\): see there\.)?$", details, re.M)
    assert sorted(shown) == sorted(public(package)), "run: python docs/make_api.py"


def test_the_api_pages_are_those_that_the_docstrings_give():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        make_api = importlib.import_module("make_api")
    finally:
        sys.path.remove(str(ROOT / "docs"))
    assert sorted(make_api.PACKAGES) == sorted(PACKAGES)
    written = {path.relative_to(ROOT / "docs").as_posix(): path.read_text() for path in ROOT.glob("docs/api/*.md")}
    written["api.md"] = (ROOT / "docs" / "api.md").read_text()
    assert make_api.pages() == written, "run: python docs/make_api.py"


@pytest.mark.parametrize(
    "folder", ["functional", "losses", "heads", "augmenters", "encoders", "plotting", "evaluation"]
)
def test_every_public_name_of_a_building_block_is_tested(folder):
    where = ROOT / "tests" / ("heads" if folder == "losses" else folder)
    tests = "\n".join(path.read_text() for path in [*where.rglob("*.py"), *ROOT.glob("tests/parity/*.py")])
    values = public(f"tscl.{folder}")
    classes = [value for value in values.values() if inspect.isclass(value)]
    bases = {name for name, value in values.items() if any(value in one.__mro__[1:] for one in classes)}
    assert [name for name in values if name not in bases and not re.search(rf"\b{name}\b", tests)] == []


def rows() -> dict[str, list[str]]:
    lines = (ROOT / "docs" / "datasets.md").read_text().splitlines()
    table = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| `")]
    return {cells[0].split("`")[1]: cells for cells in table}


def test_the_page_of_data_sets_lists_them_all():
    assert sorted(rows()) == sorted(STUDIES)


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_the_row_of_a_data_set_says_what_its_class_says(name):
    study = STUDIES[name]()
    title, _, licence, access, size, levels, targets, split = rows()[name]
    assert f"`{type(study).__name__}`" in title
    assert licence == study.licence
    assert ("open" in access.split(":")[0]) == (study.files_url is not None)
    if study.patterns and study.url and name != "bids":
        assert study.url in access
    assert [f"{count} {what}" for what, count in study.expected.items() if f"{count} {what}" not in size] == []
    assert levels == ", ".join(study.levels)
    if study.targets:
        assert targets == ", ".join(
            f"`{one}`" for one in (study.target, *(t for t in study.targets if t != study.target))
        )
    published = study.published is not None or "published_patients" in vars(type(study))
    assert split.startswith("none") != published
