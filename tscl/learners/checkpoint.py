"""Checkpoints that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from tscl.data.files import atomic_file


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write to a temporary file first, so that a killed run leaves its last checkpoint readable; read tensors only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write the checkpoint; see Lightning's ``CheckpointIO``."""
        with atomic_file(path) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint without unpickling objects."""
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)
