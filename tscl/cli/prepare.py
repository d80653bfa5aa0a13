"""``tscl prepare``: a configuration's recordings become a store of windows, before any training."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pandas as pd

from tscl.cli.fit import build
from tscl.data import CohortDataModule, WindowStore
from tscl.data.prepare import prepare_store
from tscl.errors import ConfigError
from tscl.files import atomic_file

FAILURES = "failures.csv"
"""What was left out, in the store's folder."""
TIMEOUT = 20
"""Seconds in which the scheduler of a cluster must answer."""
UNUSED = [
    "--trainer.default_root_dir=unused",
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.num_nodes=1",
    "--trainer.strategy=auto",
    "--trainer.precision=32-true",
]
"""The machine that prepares need not be the one that trains."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}: look at tscl prepare --help.")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options that are the command's own."""
    made = _Parser(
        prog="tscl prepare",
        allow_abbrev=False,
        description="Read, preprocess and cut the recordings of a configuration, and keep their windows on disk. A "
        "command that was stopped goes on when it is given again; a store gets the recordings that it does not hold.",
        epilog="Every setting of the configuration is an option as well, such as --data.root DIR.",
    )
    made.add_argument("--config", required=True, action="append", help="Configuration of tscl fit.")
    made.add_argument(
        "--out", type=Path, help="Store to make or extend; by default what data.store or data.cache of it names."
    )
    made.add_argument("--n_jobs", type=int, default=-1, help="Recordings worked on at the same time; -1: one a core.")
    made.add_argument("--backend", choices=["loky", "dask"], default="loky", help="Processes here, or a Dask cluster.")
    made.add_argument("--address", help="Scheduler of the cluster, such as tcp://HOST:8786.")
    return made


def prepare(args: list[str]) -> None:
    """Make or extend a store, or fill the cache, and say what is in it.

    Raises
    ------
    ConfigError, DataError, DataNotFoundError
        For settings and files that cannot be used, and where no recording can be used.
    """
    own, settings = parser().parse_known_args(args)
    configs = [word for path in own.config for word in ("--config", path)]
    module = build([*configs, *settings, *UNUSED], run=False).datamodule
    if not isinstance(module, CohortDataModule):
        raise ConfigError(f"{type(module).__name__} has no recordings to prepare: CohortDataModule has.")
    out = own.out or (None if module.store is None else Path(module.store))
    if out is None and module.cache is None:
        raise ConfigError("it is not said where the windows are to be kept: give --out STORE, or --data.cache FOLDER.")
    try:
        with _workers(own.backend, own.address):
            _report(_prepare(module, out, own.n_jobs))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on from here") from None


def _prepare(module: CohortDataModule, out: Path | None, n_jobs: int) -> WindowStore:
    """Prepare, and return the store with its list of failures written beside it."""
    study = module.study
    if module.download and study.patterns:
        module.root = str(study.download(module.root))
    if out is None:
        module.n_jobs, module.on_error, module.store = n_jobs, "skip", None
        data = module.load(progress=True)
        out = Path(data.signals.filename).parent
    else:
        recipe = module.preprocessing or study.preprocessing()
        data = prepare_store(
            out, study.sources(study.find(module.root)), recipe, levels=study.levels, target=study.target, n_jobs=n_jobs
        )
    if data.skipped:
        with atomic_file(out / FAILURES) as temporary:
            pd.DataFrame(data.skipped, columns=["source", "reason"]).to_csv(temporary, index=False)
        print(f"{len(data.skipped)} recordings were left out, listed in {out / FAILURES}", file=sys.stderr)
    else:
        (out / FAILURES).unlink(missing_ok=True)
    return WindowStore(out)


def _report(store: WindowStore) -> None:
    n, c, t = store.signals.shape
    recordings = int((store.sources["n_windows"] > 0).sum())
    size = sum(path.stat().st_size for path in Path(store.folder).rglob("*") if path.is_file())
    level = store.info.levels[0]
    shape = f"{c} channels, {t} times at {store.info.channels.sfreq:g} Hz"
    print(
        f"{store.folder} holds {n} windows ({shape}) of {recordings} recordings and {store.metadata[level].nunique()} "
        f"ids of {level}, {size / 2**20:.1f} MB"
    )


@contextmanager
def _workers(backend: str, address: str | None) -> Iterator[None]:
    """Hand joblib's work to processes here, or to a Dask cluster."""
    if backend == "loky":
        if address is not None:
            raise ConfigError("--address is of the Dask cluster: give --backend dask as well.")
        yield
        return
    if address is None:
        raise ConfigError("say where the cluster's scheduler is: --address tcp://HOST:PORT.")
    import joblib

    try:
        from dask.distributed import Client
    except ImportError as error:
        raise ConfigError("--backend dask needs Dask: pip install 'tscl[dask]'.") from error
    try:
        client = Client(address, timeout=TIMEOUT)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no Dask scheduler answers at {address} ({error}): start one, or mend --address.") from error
    with client, joblib.parallel_config(backend="dask"):
        yield
