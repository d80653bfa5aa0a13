"""Whether ``torch.compile`` can be used."""

from __future__ import annotations

import os
import shutil
import sys

import torch

from tscl.errors import ConfigError

COMPILERS = {"darwin": "clang++", "win32": "cl"}


def prepare_compiling(device: torch.device) -> None:
    """Begin without the compiled code of earlier runs, whose number torch limits.

    Raises
    ------
    ConfigError
        On a CPU, when there is no C++ compiler.
    """
    compiler = os.environ.get("CXX", COMPILERS.get(sys.platform, "g++"))
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise ConfigError(
            f"compile needs a C++ compiler on a CPU, and there is no {compiler}: install it, name another one in the "
            "environment variable CXX, or leave compile out."
        )
    torch.compiler.reset()
