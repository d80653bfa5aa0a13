"""What a run leaves behind besides its checkpoints: split manifest, encoder, figures, model card."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd

from tscl.encoders import save_encoder, save_state
from tscl.errors import ConfigError, DataNotFoundError
from tscl.files import atomic_file
from tscl.learners.history import History

MANIFEST, METRICS, CARD, CHECKPOINTS = "split.json", "metrics.csv", "model_card.md", "checkpoints"
SKIPPED = "skipped.csv"
AUGMENTER = "augmenter_{view}.safetensors"
MANY = 200
"""So many ids are named in the model card."""
SLOW = 0.1
"""Below so many values a second, figures count hours."""
PACKAGES = ("tscl", "torch", "lightning", "numpy", "scipy", "scikit-learn", "pandas", "mne", "wfdb")


class RunFolder(L.Callback):
    """Fill the run's folder (the trainer's ``default_root_dir``).

    The split manifest, which is also part of every checkpoint, is written when training begins, with the list of
    recordings that were left out. At the end come the encoder (safetensors), the training curves and the model card.

    Parameters
    ----------
    history : History
        Where the logged values are.

    Attributes
    ----------
    trained : bool
        Whether there was anything to train: not so when a finished run is resumed.

    Raises
    ------
    ConfigError
        When a run is resumed with data that were split differently.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.manifest: dict[str, Any] = {}
        self.trained = False

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """Take the manifest."""
        self.manifest = trainer.datamodule.split.manifest

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Write what is known before training."""
        self.trained = True
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        with atomic_file(folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(self.manifest, indent=1))
        if trainer.datamodule.data.skipped:
            with atomic_file(folder / SKIPPED) as temporary:
                frame = pd.DataFrame(trainer.datamodule.data.skipped, columns=["source", "reason"])
                frame.to_csv(temporary, index=False)

    def state_dict(self) -> dict[str, Any]:
        """Return the split manifest, as JSON."""
        return {"manifest": json.dumps(self.manifest)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse to go on with other patients than the checkpoint was trained on."""
        before = json.loads(state_dict["manifest"])
        now = json.loads(json.dumps(self.manifest))
        if before != now:
            raise ConfigError(
                "the data or their split are not those of the checkpoint: resume with the same data and configuration, "
                "or start a new run."
            )

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Write what is read later: encoder, figure, card."""
        if not trainer.is_global_zero:
            return
        from tscl.plotting import save_figure, score_distributions, training_curves
        from tscl.plotting.scores import scored

        folder = Path(trainer.default_root_dir)
        save_encoder(pl_module.embedder, folder)
        for view, augmenter in pl_module.learning.items():
            save_state(augmenter, folder / AUGMENTER.format(view=view))
        (folder / "figures").mkdir(exist_ok=True)
        history = self.history.frame()
        axes = training_curves(history, columns=[name for name in pl_module.curves if name in history])
        save_figure(axes, folder / "figures" / "training.png")
        for name in scored(history):
            save_figure(score_distributions(history, name), folder / "figures" / f"scores_{name}.png")
        for view, augmenter in pl_module.learning.items():
            draw_mask(augmenter, trainer.datamodule.split.train, folder / "figures" / f"mask_{view}.png")
        write_card(folder, self._description(trainer, pl_module))

    def _description(self, trainer: L.Trainer, pl_module: Any) -> str:
        data, split = trainer.datamodule.data, trainer.datamodule.split
        ids = [str(one) for one in self.manifest.get("train", {}).get("ids", [])]
        seen = ", ".join(ids) if len(ids) <= MANY else f"{len(ids)} ids, listed in `{MANIFEST}`"
        last = self.history.rows[-1] if self.history.rows else {}
        lines = [
            "# Model card",
            "",
            f"- **Data**: {data!r}",
            f"- **Split** by {split.by}: {_size(split.train)} training, {_size(split.val)} validation, "
            f"{_size(split.test)} test windows (`{MANIFEST}`)",
            f"- **Seen in training** ({split.by}): {seen}",
            *pl_module.card,
            f"- **Epochs**: {trainer.current_epoch}, steps: {trainer.global_step}, seed: {pl_module.seed}",
            f"- **Packages**: {versions()}",
            "",
            "## Training, last epoch",
            "",
            *(f"- {name}: {value:.4g}" for name, value in last.items() if not name.startswith("score/")),
            "",
            "Intended for research. The embeddings carry what the recordings of these patients carry, biases included.",
        ]
        return "\n".join(lines)


def draw_mask(augmenter: Any, data: Any, path: Path) -> None:
    """Draw what a learned augmenter keeps of the first channel of a window in the middle of the data."""
    import torch

    from tscl.evaluation.contexts import device_of, evaluating
    from tscl.plotting import mask_over_signal, save_figure

    x = data[[len(data) // 2]].x
    with evaluating(augmenter), torch.inference_mode():
        mask, transform = augmenter.explain(x.to(device_of(augmenter)))
    seconds, unit = (3600.0, "h") if data.channels.sfreq < SLOW else (1.0, "s")
    times = np.arange(x.shape[2]) / data.channels.sfreq / seconds
    axes = mask_over_signal(x[0, 0].numpy(), mask[0].cpu().numpy(), transform[0, 0].cpu().numpy(), times)
    axes.set_xlabel(f"time ({unit})")
    axes.set_ylabel(f"{data.channels.names[0]} ({data.channels.unit})")
    save_figure(axes, path)


def _size(data: Any) -> int:
    return 0 if data is None else len(data)


def versions() -> str:
    """Return Python's and the packages' versions."""
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)])


def write_card(folder: Path, text: str) -> None:
    """Write the model card, all or nothing."""
    with atomic_file(folder / CARD) as temporary:
        temporary.write_text(text + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a run's split manifest.

    Raises
    ------
    DataNotFoundError
        When the folder holds no run.
    """
    try:
        return json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{folder} holds no run: {MANIFEST} is missing.") from error
