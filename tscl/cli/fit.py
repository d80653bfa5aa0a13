"""``tscl fit``: a configuration becomes a run."""

from __future__ import annotations

import logging
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any, TypeVar, overload

import lightning as L
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger

from tscl.cli.arguments import one_sentence
from tscl.cli.search_space import Sweep
from tscl.errors import ConfigError, DataNotFoundError, TsclError
from tscl.files import atomic_file
from tscl.learners.checkpoint import LAST, AtomicCheckpointIO, LastCheckpoint
from tscl.learners.history import History
from tscl.learners.run_folder import CARD, CHECKPOINTS, METRICS, SKIPPED, RunFolder

CONFIG = "config.yaml"
SHOWN = 20
"""So many left-out recordings are named on the screen."""


class SaveConfig(SaveConfigCallback):
    """Write the resolved configuration into the run's folder."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Wait: a run that cannot be resumed keeps its configuration."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write it now."""
        if trainer.is_global_zero:
            self.save_config(trainer, pl_module, "fit")

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write it, all or nothing."""
        config = self.config.clone()
        for transient in ("ckpt_path", "weights_only", "sweep"):
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
        parser.add_argument("--sweep", type=Sweep, default=Sweep(), help="For tscl sweep; a fit does not look at it.")

    def before_instantiate_classes(self) -> None:
        """Refuse a run without a folder of its own."""
        if self.subcommand and not self.config.fit.trainer.default_root_dir:
            raise ConfigError("the run needs a folder: give --trainer.default_root_dir RUN.")

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Put checkpoints, logs and metrics into the run's folder."""
        root = Path(self._get(self.config_init, "trainer.default_root_dir"))
        history = History(root / METRICS)
        self.run_folder = RunFolder(history)
        checkpoint = LastCheckpoint(root / CHECKPOINTS, self._get(self.config_init, "checkpoint_every"))
        given = self._get(self.config_init, "trainer.callbacks") or []
        return super().instantiate_trainer(
            logger=TensorBoardLogger(root, name="tensorboard", version=""),
            callbacks=[*given, history, self.run_folder, checkpoint],
            plugins=[AtomicCheckpointIO()],
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            **kwargs,
        )

    def before_fit(self) -> None:
        """Read the data and refuse what cannot become a run, before anything is written."""
        folder = Path(self.trainer.default_root_dir)
        last = folder / CHECKPOINTS / LAST
        if self.config.fit.ckpt_path is None and last.exists():
            raise ConfigError(
                f"{folder} holds a run already: resume it with --ckpt_path last, "
                "or choose another folder with --trainer.default_root_dir."
            )
        if self.config.fit.ckpt_path == "last" and not last.exists():
            raise DataNotFoundError(f"{last} does not exist: there is nothing to resume; leave --ckpt_path out.")
        self.datamodule.prepare_data()
        self.datamodule.setup("fit")
        skipped = self.datamodule.data.skipped
        for _, reason in skipped[:SHOWN]:
            _say(f"left out: {reason}")
        if len(skipped) > SHOWN:
            _say(f"left out: {len(skipped) - SHOWN} more, listed in {SKIPPED} of the run's folder")

    def fit(
        self, model: L.LightningModule, datamodule: L.LightningDataModule, ckpt_path: str | None = None, **options: Any
    ) -> None:
        """Train; nothing is left of a new run that fails before its first checkpoint."""
        folder = Path(self.trainer.default_root_dir)
        last = folder / CHECKPOINTS / LAST
        new = not folder.exists()
        path = str(last) if ckpt_path == "last" else ckpt_path
        try:
            self.trainer.fit(model, datamodule=datamodule, ckpt_path=path, **options)
        except SystemExit as error:
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise
            hint = "resume with --ckpt_path last" if last.exists() else "there is no checkpoint yet, start again"
            raise KeyboardInterrupt(hint) from None
        except RuntimeError as error:
            if "loading state_dict" not in str(error):
                raise
            raise ConfigError(
                f"{path} holds another model: resume with the configuration of its run, or start a new one."
            ) from error
        except TsclError:
            if new and not last.exists() and self.trainer.is_global_zero:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        if not self.run_folder.trained:
            _say("the run had finished before: nothing is left to train; more epochs with --trainer.max_epochs.")
            if not (folder / CARD).exists():
                self.run_folder.on_train_end(self.trainer, model)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


AnyCli = TypeVar("AnyCli", bound=Cli)


@overload
def build(args: list[str], run: bool) -> Cli: ...
@overload
def build(args: list[str], run: bool, kind: type[AnyCli], quiet: bool = False) -> AnyCli: ...
def build(args: list[str], run: bool, kind: type[Any] = Cli, quiet: bool = False) -> Any:
    """Parse ``args`` and build model, data and trainer; with ``run`` train as well, ``quiet`` in silence.

    Raises
    ------
    ConfigError
        Naming the setting that is unknown or cannot be used.
    """
    warnings.filterwarnings("ignore", module="lightning|torch")
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch"):
        logging.getLogger(name).addFilter(lambda record: "Tip:" not in record.getMessage())
    logging.getLogger("lightning.pytorch.trainer.connectors.checkpoint_connector").setLevel(logging.WARNING)
    if quiet or not run:
        for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
            logging.getLogger(name).setLevel(logging.WARNING)
    raising = {"exit_on_error": False}
    with one_sentence():
        return kind(
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


def _judge_speech(cli: Cli) -> None:
    """Judge a finished run on speech by the stretches that it never heard."""
    from tscl.data.speech import SpeechDataModule

    folder = Path(cli.trainer.default_root_dir)
    if not isinstance(cli.datamodule, SpeechDataModule) or not cli.trainer.is_global_zero:
        return
    from tscl.cli.evaluate_speech import THIS, judge

    split = cli.datamodule.split
    judge(folder, {THIS: cli.model.embedder}, split.test, list(split.train.subjects))


def fit(args: list[str]) -> None:
    """Train a model from a configuration; a run on speech is judged by the stretches that it never heard as well.

    Raises
    ------
    ConfigError, DataError, DataNotFoundError
        For settings and files that cannot be used; nothing is left half-written.
    """
    cli = build(["fit", *args], run=True)
    _judge_speech(cli)
    _say(f"\nthe run is in {cli.trainer.default_root_dir}")
