"""The ``tscl`` command."""

from tscl.cli.main import main

__all__ = ["main"]
