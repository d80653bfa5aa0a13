"""What a run leaves behind besides its checkpoints: split manifest, encoder, figures, model card."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L

from tscl.data.files import atomic_file
from tscl.encoders import save_encoder
from tscl.errors import ConfigError, DataNotFoundError
from tscl.learners.history import History

MANIFEST, METRICS, CARD, CHECKPOINTS = "split.json", "metrics.csv", "model_card.md", "checkpoints"
PACKAGES = ("tscl", "torch", "lightning", "numpy", "scipy", "scikit-learn", "pandas", "mne", "wfdb")


class RunFolder(L.Callback):
    """Fill the run's folder (the trainer's ``default_root_dir``).

    At the start the split manifest is written, and a folder that holds another run is refused; the manifest is also part
    of every checkpoint. At the end come the encoder (safetensors), the training curves and the model card.

    Parameters
    ----------
    history : History
        Where the logged values are.

    Raises
    ------
    ConfigError
        When the folder holds a run already and this one does not resume it, or the data were split differently.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.manifest: dict[str, Any] = {}

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """Write the manifest."""
        folder = Path(trainer.default_root_dir)
        if (folder / MANIFEST).exists() and trainer.ckpt_path is None:
            raise ConfigError(
                f"{folder} holds a run already: resume it with --ckpt_path last, "
                "or choose another folder with --trainer.default_root_dir."
            )
        self.manifest = trainer.datamodule.split.manifest
        if trainer.is_global_zero:
            with atomic_file(folder / MANIFEST) as temporary:
                temporary.write_text(json.dumps(self.manifest, indent=1))

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
        from tscl.plotting import training_curves

        folder = Path(trainer.default_root_dir)
        save_encoder(pl_module.embedder, folder)
        (folder / "figures").mkdir(exist_ok=True)
        history = self.history.frame()
        axes = training_curves(history, columns=["train/loss", *(f"train/{name}" for name in pl_module.names)])
        axes.figure.savefig(folder / "figures" / "training.png", dpi=120)
        write_card(folder, self._description(trainer, pl_module))

    def _description(self, trainer: L.Trainer, pl_module: Any) -> str:
        data, split = trainer.datamodule.data, trainer.datamodule.split
        seen = ", ".join(str(one) for one in self.manifest.get("train", {}).get("ids", []))
        last = self.history.rows[-1] if self.history.rows else {}
        heads = ", ".join(f"{head.level} x {head.weight:g}" for head in pl_module.heads)
        lines = [
            "# Model card",
            "",
            f"- **Data**: {data!r}",
            f"- **Split** by {split.by}: {_size(split.train)} training, {_size(split.val)} validation, "
            f"{_size(split.test)} test windows (`{MANIFEST}`)",
            f"- **Seen in training** ({split.by}): {seen}",
            f"- **Heads**: {heads}",
            f"- **Epochs**: {trainer.current_epoch}, steps: {trainer.global_step}, seed: {pl_module.seed}",
            f"- **Packages**: {versions()}",
            "",
            "## Training, last epoch",
            "",
            *(f"- {name}: {value:.4g}" for name, value in last.items()),
            "",
            "Intended for research. The embeddings carry what the recordings of these patients carry, biases included.",
        ]
        return "\n".join(lines)


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
