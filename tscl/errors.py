"""Errors a user can act on. The command line prints them as one sentence, without a traceback."""

from __future__ import annotations


class TsclError(Exception):
    """Base of every error that tscl raises about its input: one sentence, what is wrong and what to do."""


class DataError(TsclError, ValueError):
    """A file, table or array cannot be used: the message names it and the remedy."""


class DataNotFoundError(TsclError, FileNotFoundError):
    """A file, folder or data set is not where it was looked for: the message says what to fetch or set."""


class LeakageError(TsclError, ValueError):
    """The same patient, trial or overlapping window stands on both sides of a split."""


class ConfigError(TsclError, ValueError):
    """A setting, or a combination of settings, that cannot work."""
