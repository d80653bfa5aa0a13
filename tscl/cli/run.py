"""A finished run, opened again: its data, its split and its encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tscl.cli.fit import CONFIG, build
from tscl.data import Split, WindowDataset
from tscl.encoders import load_encoder
from tscl.errors import DataNotFoundError
from tscl.learners.run_folder import read_manifest


@dataclass
class Run:
    """What a run's folder holds.

    Attributes
    ----------
    folder : Path
    manifest : dict
        Which ids stood on which side of the split.
    data : WindowDataset
        All windows, prepared anew (or taken from the cache) by the run's configuration.
    encoder : nn.Module
        The trained encoder, in eval mode, on the CPU.
    learner : nn.Module
        The learner around it.
    """

    folder: Path
    manifest: dict[str, Any]
    data: WindowDataset
    encoder: nn.Module
    learner: Any

    def split(self) -> Split:
        """Return the split that the run was trained with."""
        return Split.from_manifest(self.data, self.manifest)


def open_run(folder: str | Path, options: Sequence[str] = ()) -> Run:
    """Open the folder that ``tscl fit`` wrote.

    Parameters
    ----------
    folder : path
    options : sequence of str
        Further command-line settings that override the run's configuration, such as ``["--data.root", "DIR"]``.

    Raises
    ------
    DataNotFoundError
        When there is no finished run in the folder, or its recordings are not where they were.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    if not (folder / CONFIG).exists():
        raise DataNotFoundError(f"{folder} holds no run: {CONFIG} is missing.")
    cli = build(["--config", str(folder / CONFIG), *options], run=False)
    data = cli.datamodule.load(progress=True)
    encoder = load_encoder(folder, cli.model.build(data.shape[1])).eval()
    return Run(folder, manifest, data, encoder, cli.model)


def root_options(root: str | Path | None) -> list[str]:
    """Return the settings that move a run to another folder of recordings."""
    return [] if root is None else ["--data.init_args.root", str(root)]
