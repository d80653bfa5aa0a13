"""An extension of griffe, which reads docstrings for the API pages: lazy exports, roles, grouped parameters."""

import ast
import itertools
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

LOG = logging.getLogger("mkdocs.plugins.tscl")
PAGES = Path(__file__).parent / "api"
ROLE = re.compile(r":(?:class|func|meth|attr|data|mod|exc):`(~?)([^`]+)`")


class TsclExtension(griffe.Extension):
    """Make public names known under their public paths, and turn the roles of docstrings into links to them."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """Add the aliases, then rewrite every docstring of the package."""
        if pkg.path != "tscl":
            return
        objects = list(walk(pkg))
        for module in [one for one in objects if one.is_init_module]:
            for name, target in exported(module).items():
                module.set_member(name, griffe.Alias(name, target))
        shown = {
            loader.modules_collection[path].canonical_path: path
            for page in PAGES.glob("*.md")
            for path in re.findall(r"^::: (\S+)", page.read_text(), re.M)
        }
        for one in objects:
            if one.docstring:
                one.docstring.value = ROLE.sub(lambda role, one=one: link(role, one, pkg, shown), one.docstring.value)
                for section in one.docstring.parsed:
                    if section.kind is griffe.DocstringSectionKind.parameters:
                        section.value = grouped(section.value, one)


def walk(parent: Any) -> Iterator[Any]:
    """Yield an object and all that is defined in it."""
    yield parent
    for member in parent.members.values():
        if not member.is_alias:
            yield from walk(member)


def exported(module: griffe.Module) -> dict[str, str]:
    """Return where the names are defined that a package exports by ``lazy_loader.attach``."""
    calls = [one for one in ast.walk(ast.parse(module.source)) if isinstance(one, ast.Call)]
    tables = [ast.literal_eval(word.value) for call in calls for word in call.keywords if word.arg == "submod_attrs"]
    return {
        name: f"{module.path}.{where}.{name}" for table in tables for where, names in table.items() for name in names
    }


def grouped(items: list[griffe.DocstringParameter], where: Any) -> list[griffe.DocstringParameter]:
    """Put parameters that were described together back into one entry: griffe gives all the first one's default."""
    entries = []
    for _, together in itertools.groupby(items, key=lambda item: item.description):
        first, *others = together
        if others:
            names = [first.name, *(item.name for item in others)]
            types = {str(where.parameters[name].annotation) for name in names if name in where.parameters}
            kind = first.annotation if len(types) == 1 else None
            first = griffe.DocstringParameter(", ".join(names), description=first.description, annotation=kind)
        entries.append(first)
    return entries


def find(name: str, where: Any, pkg: griffe.Module, shown: dict[str, str]) -> Any:
    """Return what a name means in a docstring: in its class, its module, the packages above, or on the API pages."""
    if name.startswith("tscl."):
        return pkg[name.removeprefix("tscl.")]
    scope: Any = where
    while scope is not None:
        if not scope.is_function and name.split(".")[0] in scope.all_members:
            return scope[name]
        scope = scope.parent
    head, _, rest = name.partition(".")
    [path] = [path for path in shown.values() if path.rpartition(".")[2] == head]
    return pkg[".".join([path.removeprefix("tscl."), *([rest] if rest else [])])]


def link(role: re.Match[str], where: Any, pkg: griffe.Module, shown: dict[str, str]) -> str:
    """Return what replaces a role: a link where the API pages show the name, otherwise the name as code."""
    short, name = role.groups()
    label = f"`{name.rpartition('.')[2] if short else name}`"
    try:
        found = find(name, where, pkg, shown)
        path = found.canonical_path
    except (KeyError, ValueError, griffe.GriffeError):
        LOG.warning(f"{where.path}: its docstring names {name}, which is not found")
        return label
    if path in shown:
        return f"[{label}][{shown[path]}]"
    owner, _, member = path.rpartition(".")
    return f"[{label}][{shown[owner]}.{member}]" if owner in shown and found.docstring else label
