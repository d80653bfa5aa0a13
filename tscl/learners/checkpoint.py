"""Checkpoints that are written whole or not at all, often enough to lose little when a run is killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from tscl.errors import DataError, DataNotFoundError
from tscl.files import atomic_file

LAST = "last.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write to a temporary file first, so that a killed run leaves its last checkpoint readable; read tensors only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write the checkpoint; see Lightning's ``CheckpointIO``.

        Raises
        ------
        DataError
            When the disk is full or the place cannot be written; an older checkpoint stays as it was.
        """
        with atomic_file(path) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:  # what torch's writer makes of a full disk
                raise DataError(
                    f"{path} could not be written, the disk may be full: free space or choose another place."
                ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint without unpickling objects.

        Raises
        ------
        DataNotFoundError
            When there is no such file.
        DataError
            When the file is damaged or is no checkpoint.
        """
        try:
            return torch.load(path, map_location=map_location or "cpu", weights_only=True)
        except FileNotFoundError as error:
            raise DataNotFoundError(f"{path} does not exist: name a checkpoint, or start a new run.") from error
        except Exception as error:
            raise DataError(
                f"{path} is damaged or is no checkpoint of tensors: resume from another one, or start a new run."
            ) from error


class LastCheckpoint(Checkpoint):
    """Keep one checkpoint, the last: every few steps within an epoch, and at the end of every epoch.

    After the last batch of an epoch it waits for the epoch's end, when the values of the epoch have been logged; a
    resume from before would lose them.

    Parameters
    ----------
    folder : path
        Where ``last.ckpt`` is put.
    every_n_steps : int
        Steps between two checkpoints within an epoch.
    """

    def __init__(self, folder: str | Path, every_n_steps: int = 100) -> None:
        self.path = Path(folder) / LAST
        self.every_n_steps = every_n_steps
        self._saved = 0

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save, when it is time."""
        step = trainer.global_step
        if step != self._saved and step % self.every_n_steps == 0 and not trainer.is_last_batch:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Save."""
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        self._saved = trainer.global_step
        trainer.save_checkpoint(self.path)
