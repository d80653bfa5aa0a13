"""``tscl fit``: a configuration becomes a run."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger

from tscl.cli.arguments import one_sentence
from tscl.data.files import atomic_file
from tscl.errors import ConfigError, DataNotFoundError
from tscl.learners import AtomicCheckpointIO
from tscl.learners.history import History
from tscl.learners.run_folder import CHECKPOINTS, METRICS, RunFolder

CONFIG = "config.yaml"


class SaveConfig(SaveConfigCallback):
    """Write the resolved configuration into the run's folder."""

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write it, all or nothing."""
        config = self.config.clone()
        for transient in ("ckpt_path", "weights_only"):
            config.pop(transient, None)
        text = self.parser.dump(config, skip_none=False, skip_validation=True)
        with atomic_file(Path(trainer.default_root_dir) / CONFIG) as temporary:
            temporary.write_text(text)


class Cli(LightningCLI):
    """Lightning's command line with the run folder as the place of everything."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return ``fit`` alone: the other commands are our own."""
        return {"fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule", "weights_only"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """One seed for everything; checkpoints that allow a resume in mid-epoch."""
        parser.link_arguments("seed_everything", "model.init_args.seed", compute_fn=int)
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)
        parser.add_argument("--checkpoint_every", type=int, default=100, help="Steps between two checkpoints.")

    def before_instantiate_classes(self) -> None:
        """Refuse a run without a folder of its own."""
        if self.subcommand and not self.config.fit.trainer.default_root_dir:
            raise ConfigError("the run needs a folder: give --trainer.default_root_dir RUN.")

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Put checkpoints, logs and metrics into the run's folder."""
        root = Path(self._get(self.config_init, "trainer.default_root_dir"))
        history = History(root / METRICS)
        checkpoint = ModelCheckpoint(
            dirpath=root / CHECKPOINTS,
            filename="{epoch}-{step}",
            save_last=True,
            every_n_train_steps=self._get(self.config_init, "checkpoint_every"),
            enable_version_counter=False,
        )
        given = self._get(self.config_init, "trainer.callbacks") or []
        return super().instantiate_trainer(
            logger=TensorBoardLogger(root, name="tensorboard", version=""),
            callbacks=[*given, history, RunFolder(history), checkpoint],
            plugins=[AtomicCheckpointIO()],
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            **kwargs,
        )

    def before_fit(self) -> None:
        """Refuse ``--ckpt_path last`` where no checkpoint is: Lightning would start anew without saying so."""
        folder = Path(self.trainer.default_root_dir) / CHECKPOINTS
        if self.config.fit.ckpt_path == "last" and not (folder / "last.ckpt").exists():
            raise DataNotFoundError(f"{folder} holds no last.ckpt: there is nothing to resume; leave --ckpt_path out.")


def build(args: list[str], run: bool) -> Cli:
    """Parse ``args`` and build model, data and trainer; with ``run`` train as well.

    Raises
    ------
    ConfigError
        Naming the setting that is unknown or cannot be used.
    """
    warnings.filterwarnings("ignore", module="lightning|torch")
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch"):
        logging.getLogger(name).addFilter(lambda record: "Tip:" not in record.getMessage())
    raising = {"exit_on_error": False}
    with one_sentence():
        return Cli(
            L.LightningModule,
            L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_callback=SaveConfig,
            save_config_kwargs={"save_to_log_dir": False, "overwrite": True},
            parser_kwargs={"fit": raising, **raising} if run else raising,
            run=run,
            args=args,
        )


def fit(args: list[str]) -> None:
    """Train a model from a configuration.

    Raises
    ------
    ConfigError, DataError, DataNotFoundError
        For settings and files that cannot be used; nothing is left half-written.
    """
    cli = build(["fit", *args], run=True)
    print(f"\nthe run is in {cli.trainer.default_root_dir}", file=sys.stderr)
