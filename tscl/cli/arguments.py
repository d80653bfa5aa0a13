"""Wrong arguments and configurations, said in one sentence."""

from __future__ import annotations

import re
from argparse import ArgumentError
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tscl.errors import ConfigError, TsclError

NOISE = re.compile(r"Does not validate|Subtypes?:|Errors:|Expected a <class 'NoneType'>|Given value|Type collections")
ECHO = re.compile(r"\. Got value: Namespace\(.*")


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn an error of the argument parser into a ConfigError that says what is wrong in one line.

    Raises
    ------
    ConfigError
    """
    try:
        yield
    except ArgumentError as error:
        lines = [line.strip(" -") for line in (error.message or str(error)).splitlines()]
        said = [ECHO.sub("", line).rstrip(":.") for line in lines if line and not NOISE.match(line)]
        raise ConfigError(f"{': '.join(dict.fromkeys(said))}: look at --help and the configuration file.") from error


def call(function: Callable[..., None], args: list[str]) -> None:
    """Run a command whose options are the parameters of ``function``.

    Raises
    ------
    ConfigError
        For options that the function does not have, or values that do not fit.
    """
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        exit_on_error=False, prog=f"tscl {function.__name__.split('_')[0]}", description=_first(function)
    )
    parser.add_function_arguments(function, as_positional=False)
    with one_sentence():
        options = parser.parse_args(args)
    function(**parser.instantiate(options).as_dict())


def sentence(error: BaseException) -> str:
    """Return what went wrong in one line: what tscl said, also where a library wrapped it into an error of its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, TsclError):
        cause = cause.__cause__ or cause.__context__
    said = str(cause) if cause is not None else f"{type(error).__name__}: {error} (--debug shows where.)"
    return " ".join(said.split())


def _first(function: Callable[..., None]) -> str:
    return (function.__doc__ or "").split("\n\n    Args:")[0]
