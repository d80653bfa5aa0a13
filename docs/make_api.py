"""Write ``api.md``, a line for every public name, and the pages of ``api/``: ``python docs/make_api.py``."""

import importlib
import importlib.util
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

A line for every public name; the page of its package has its parameters, shapes, units, errors and source, and so has
`help(name)`. This page and those are written by [make_api.py](make_api.py).
"""
PAGE_HEAD = """# `{package}`

{about}
"""
INHERITED = """    options:
      inherited_members: true
"""


def public(package: str) -> dict[str, Any]:
    """Return the public classes, functions and constants of a package by name, without its subpackages."""
    module = importlib.import_module(package)
    return {name: value for name in module.__all__ if not inspect.ismodule(value := getattr(module, name))}


def plain(text: str) -> str:
    """Return text whose roles and literals are written as code."""
    return re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text).replace("``", "`")


def about(package: str) -> str:
    """Return the first line of a package's docstring."""
    return plain((importlib.import_module(package).__doc__ or "").strip().splitlines()[0])


def first_sentence(value: Any) -> str:
    """Return the first paragraph of a docstring."""
    if not (inspect.isclass(value) or callable(value)):
        return f"A {type(value).__name__}: {', '.join(f'`{key}`' for key in value)}."
    return plain(" ".join((inspect.getdoc(value) or "").split("\n\n")[0].split()))


def inherits(value: Any) -> bool:
    """Return whether a class has methods of another class of the package."""
    return inspect.isclass(value) and any(one.__module__.startswith("tscl.") for one in value.__mro__[1:])


def identifier(package: str, name: str) -> str:
    """Return the path of a public name; where a module has the same path, that of the name within the module."""
    path = f"{package}.{name}"
    return f"{path}.{name}" if importlib.util.find_spec(path) else path


def pages() -> dict[str, str]:
    """Return the text of every page by its path below ``docs``; a name of two packages is shown in the first."""
    overview, texts = [HEAD], {}
    shown: dict[int, str] = {}
    for package in PACKAGES:
        names, page = public(package), f"api/{package}.md"
        lines, parts = [], [PAGE_HEAD.format(package=package, about=about(package))]
        for name, value in names.items():
            if id(value) in shown:
                parts.append(f"[`{name}`]({shown[id(value)]}): see there.\n")
            else:
                shown[id(value)] = f"{package}.md#{identifier(package, name)}"
                options = INHERITED if package == "tscl" and inherits(value) else ""
                parts.append(f"::: {identifier(package, name)}\n{options}")
            lines.append(f"- [`{name}`](api/{shown[id(value)]}): {first_sentence(value)}")
        overview.append("\n".join([f"## [`{package}`]({page})", "", about(package), "", *lines]) + "\n")
        texts[page] = "\n".join(parts)
    return {"api.md": "\n".join(overview), **texts}


def main() -> None:
    """Write the pages, and remove those of packages that are no more."""
    docs = Path(__file__).parent
    (docs / "api").mkdir(exist_ok=True)
    texts = pages()
    for old in docs.glob("api/*.md"):
        if old.relative_to(docs).as_posix() not in texts:
            old.unlink()
    for path, text in texts.items():
        (docs / path).write_text(text)


if __name__ == "__main__":
    main()
