"""What was logged, an epoch a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
from torch import Tensor

from tscl.files import atomic_file


class History(L.Callback):
    """Keep every scalar logged in a training epoch; it travels with the checkpoint, so a resumed run has all rows.

    Parameters
    ----------
    path : path, optional
        CSV file that is written anew, all or nothing, at the end of every epoch.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        self._before: dict[str, Tensor] = {}

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Remember the values of earlier epochs: Lightning keeps what is not logged anew."""
        self._before = dict(trainer.callback_metrics)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Take the epoch's values."""
        logged = {name: v for name, v in trainer.callback_metrics.items() if v is not self._before.get(name)}
        values = {name: float(value) for name, value in sorted(logged.items())}
        self.rows.append({"epoch": trainer.current_epoch, "step": trainer.global_step, **values})
        if self.path is not None and trainer.is_global_zero:
            with atomic_file(self.path) as temporary:
                self.frame().to_csv(temporary, index=False)

    def frame(self) -> pd.DataFrame:
        """Return a table with a column ``epoch`` and one a metric."""
        return pd.DataFrame(self.rows)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the rows of a checkpoint."""
        self.rows = list(state_dict["rows"])
