"""The ``sweep`` section of a configuration: which settings a sweep varies, and by what it judges them."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tscl.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Direction: TypeAlias = Literal["maximize", "minimize"]
DEFAULT_SPACE: dict[str, Any] = {
    "model.init_args.lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "model.init_args.weight_decay": {"low": 1e-4, "high": 1e-1, "log": True},
}
RANGE = {"low", "high", "log", "step"}


@dataclass
class Sweep:
    """What ``tscl sweep`` varies and how it judges; ``tscl fit`` does not look at it.

    Attributes
    ----------
    space : dict of str to dict or list, optional
        By the dotted name of a setting: its range ``{low, high, log, step}`` (whole numbers where both ends are) or the
        list of its choices. Learning rate and weight decay by default.
    objective : str, optional
        On validation patients: a metric of the linear probe (accuracy, precision, recall, f1, auroc, auprc); mse or mae
        of forecasts of a series; or a value that training logs, such as val/loss. By default f1 with labels, mse for a
        series, val/loss for speech.
    direction : {"maximize", "minimize"}, optional
        By default mse, mae and what ends in "loss" are minimized, and everything else is maximized.
    pooling : str
        How the probe pools embeddings over time.
    seed : int
        Of the draws of settings.
    storage : str, optional
        URL of Optuna's storage; an SQLite file in the sweep's folder by default.
    study : str
        Name of Optuna's study.
    """

    space: dict | None = None  # of anything: jsonargparse would build the classes that typed values name
    objective: str | None = None
    direction: Direction | None = None
    pooling: str = "max"
    seed: int = 0
    storage: str | None = None
    study: str = "sweep"


def distributions(space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of every setting.

    Raises
    ------
    ConfigError
        For a setting without a range or a list of choices that makes sense.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not space:
        raise ConfigError("the sweep's space is empty: name a setting, such as model.init_args.lr, and its range.")
    for name in space:
        if within := [other for other in space if name.startswith(f"{other}.")]:
            raise ConfigError(f"the sweep's space names {within[0]} and {name}, a part of it: name one of them.")
    found: dict[str, BaseDistribution] = {}
    for name, given in space.items():
        if isinstance(given, list) and given:
            found[name] = CategoricalDistribution([_label(choice) for choice in given])
            continue
        if not isinstance(given, dict) or not {"low", "high"} <= set(given) <= RANGE:
            raise ConfigError(
                f"the sweep's space of {name} is {given!r}: give a range such as {{low: 1.0e-4, high: 0.1, log: "
                "true}}, or a list of choices."
            )
        whole = all(type(given[end]) is int for end in ("low", "high"))
        try:
            found[name] = IntDistribution(**{"step": 1, **given}) if whole else FloatDistribution(**given)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"the sweep's range of {name} cannot be used: {error}") from error
    return found


def extremes(space: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return both ends of every range and all choices, each with the setting's name."""
    ends = {name: given if isinstance(given, list) else [given["low"], given["high"]] for name, given in space.items()}
    return [(name, value) for name, values in ends.items() for value in values]


def settings_of(space: Mapping[str, Any], drawn: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings, by dotted name, that Optuna's parameters stand for."""
    choices = {name: {_label(one): one for one in given} for name, given in space.items() if isinstance(given, list)}
    return {name: choices[name][value] if name in choices else value for name, value in drawn.items()}


def laid_over(base: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration file that, laid over another, gives it these settings.

    A list, and a mapping that is not the arguments of a class, is replaced as a whole by what is laid over it: it is
    written with its other entries.

    Parameters
    ----------
    base : mapping
        The tree of the other configuration, resolved.
    settings : mapping of str
        By dotted name; an entry of a list by its number, from 0.

    Raises
    ------
    ConfigError
        When a name leads to no place of the tree.
    """
    whole = copy.deepcopy(dict(base))
    for name, value in settings.items():
        _put(whole, name, value)
    tree: dict[str, Any] = {}
    for name in settings:
        node, branch = whole, tree
        *folders, last = name.split(".")
        for depth, key in enumerate(folders):
            within = node[key]
            if not isinstance(within, dict) or (depth and key != "init_args" and "class_path" not in within):
                branch[key] = within
                break
            node, branch = within, branch.setdefault(key, {})
        else:
            branch[last] = node[last]
    return tree


def _put(tree: dict[str, Any], name: str, value: Any) -> None:
    """Set what the dotted name stands for."""
    *folders, last = name.split(".")
    node: Any = tree
    for folder in folders:
        key = _key(node, folder, name)
        if isinstance(node, dict) and node.get(key) is None:
            node[key] = {}
        node = node[key]
    node[_key(node, last, name)] = value


def _key(node: Any, part: str, name: str) -> str | int:
    if isinstance(node, dict):
        return part
    if not isinstance(node, list):
        raise ConfigError(f"the sweep's space names {name}, but {part} would be a part of the single value {node!r}.")
    if not part.isdigit() or int(part) >= len(node):
        raise ConfigError(f"the sweep's space names {name}, but {part} is no entry of a list of {len(node)}, from 0.")
    return int(part)


def _label(choice: Any) -> Any:
    """Return what Optuna knows a choice by: itself, or its JSON where it is a list or a mapping."""
    return choice if choice is None or isinstance(choice, bool | int | float | str) else json.dumps(choice)
