"""Write ``api.md``, a line for every public name, from the docstrings: ``python docs/make_api.py``."""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

PACKAGES = (
    "tscl",
    "tscl.estimators",
    "tscl.estimators.sktime",
    "tscl.learners",
    "tscl.heads",
    "tscl.losses",
    "tscl.augmenters",
    "tscl.encoders",
    "tscl.functional",
    "tscl.evaluation",
    "tscl.plotting",
    "tscl.data",
    "tscl.data.datasets",
    "tscl.data.readers",
    "tscl.data.preprocessing",
    "tscl.data.speech",
)
HEAD = """# API

A line for every public name; `help(name)` shows its parameters, shapes, units, errors and source. This page is written
by [make_api.py](make_api.py).
"""


def public(package: str) -> dict[str, Any]:
    """Return the public classes, functions and constants of a package by name, without its subpackages."""
    module = importlib.import_module(package)
    return {name: value for name in module.__all__ if not inspect.ismodule(value := getattr(module, name))}


def first_sentence(value: Any) -> str:
    """Return the first paragraph of a docstring, its roles written as code."""
    if not (inspect.isclass(value) or callable(value)):
        return f"A {type(value).__name__}: {', '.join(f'`{key}`' for key in value)}."
    paragraph = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
    return re.sub(r":\w+:`~?([^`]*)`", r"`\1`", paragraph).replace("``", "`")


def main() -> None:
    """Write the page."""
    parts = [HEAD]
    for package in PACKAGES:
        about = (importlib.import_module(package).__doc__ or "").strip().splitlines()[0].replace("``", "`")
        lines = [f"- `{name}`: {first_sentence(value)}" for name, value in public(package).items()]
        parts.append("\n".join([f"## `{package}`", "", about, "", *lines]) + "\n")
    Path(__file__).with_name("api.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
