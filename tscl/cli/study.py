"""The trials of a sweep, kept by Optuna in a file, so that they are gone on with after a stop."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tscl.cli.fit import CONFIG
from tscl.cli.search_space import Direction, Sweep
from tscl.errors import ConfigError, DataError

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

STUDY = "study.db"
FACTS, ERROR, SECONDS = "tscl", "error", "seconds"
TOLERANCE = 1e-4
"""Relative difference up to which two numbers of a sweep's facts are the same."""


@dataclass
class Plan:
    """What all trials of a sweep share.

    Attributes
    ----------
    folder : Path
        The sweep's, within the run's.
    sweep : Sweep
    space : dict
        By dotted name of a setting.
    objective, direction : str
        What is judged by, and whether it is to be large or small.
    sides : dict
        The ids of every side of the split.
    base : dict
        The tree of the configuration that trials are laid over.
    """

    folder: Path
    sweep: Sweep
    space: dict[str, Any]
    objective: str
    direction: Direction
    sides: dict[str, Any]
    base: dict[str, Any]

    @property
    def config(self) -> Path:
        """The file of :attr:`base`."""
        return self.folder / CONFIG

    def trial(self, number: int) -> Path:
        """Return the folder of a trial's run."""
        return self.folder / f"trial_{number:04d}"


def require_optuna() -> None:
    """Raise ConfigError where optuna is not installed; say nothing on the screen otherwise."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("a sweep needs optuna: pip install 'tscl[sweep]'.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the hold ends with the process, however it ends.

    Raises
    ------
    ConfigError
        When another process holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"another process is sweeping in {folder}: wait for it, or choose another folder.") from error
    try:
        yield
    finally:
        lock.release()


def open_study(plan: Plan, facts: Mapping[str, Any]) -> Study:
    """Open the study of a sweep, or begin it.

    Parameters
    ----------
    plan : Plan
    facts : mapping
        What all trials have in common, ready for JSON.

    Raises
    ------
    ConfigError
        When the study was begun with other facts, or is new in a folder that has trials.
    DataError
        When the storage cannot be opened.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    folder, sweep = plan.folder, plan.sweep
    url = sweep.storage or f"sqlite:///{(folder / STUDY).resolve()}"
    try:
        storage = optuna.storages.RDBStorage(url)
        study = optuna.create_study(
            storage=storage, study_name=sweep.study, direction=plan.direction, load_if_exists=True
        )
        before = study.user_attrs.get(FACTS)
    except (SQLAlchemyError, RuntimeError, ImportError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise DataError(
            f"{url} cannot be opened as the storage of a sweep ({said}): name another --sweep.storage."
        ) from error
    now = json.loads(json.dumps(facts))
    if before is None:
        if any(folder.glob("trial_*")):
            raise ConfigError(f"{folder} holds the trials of another study: choose another folder or --sweep.study.")
        study.set_user_attr(FACTS, now)
    elif changed := sorted(_differences(before, now)):
        named = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "")
        raise ConfigError(
            f"the sweep in {folder} was begun with another {named}, and its trials cannot be compared with new ones: "
            "go on as it was begun, or choose another folder with --trainer.default_root_dir."
        )
    return study


def _differences(before: Any, now: Any, where: str = "") -> list[str]:
    """Return the dotted names of what is not the same; numbers that differ by rounding are."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [*before, *(name for name in now if name not in before)]
        parts = ((f"{where}.{name}".lstrip("."), before.get(name), now.get(name)) for name in names)
        return [name for path, one, other in parts for name in _differences(one, other, path)]
    if isinstance(before, float) and isinstance(now, float) and np.isclose(before, now, rtol=TOLERANCE, equal_nan=True):
        return []
    return [] if before == now else [where]


def interrupted(study: Study) -> list[int]:
    """Close the trials that a stopped process left open, and return their numbers; they do not count."""
    from optuna.trial import TrialState

    numbers = [trial.number for trial in study.get_trials(states=[TrialState.RUNNING])]
    for number in numbers:
        study.tell(number, state=TrialState.FAIL)
    return numbers


def finished(study: Study) -> list[FrozenTrial]:
    """Return the trials that have a value or an error; those that were interrupted are left out."""
    from optuna.trial import TrialState

    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state == TrialState.COMPLETE or (trial.state == TrialState.FAIL and ERROR in trial.user_attrs)
    ]


def best_of(study: Study) -> FrozenTrial | None:
    """Return the best finished trial, of equals the first; None when none has a value."""
    from optuna.study import StudyDirection

    sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
    good = [(sign * trial.value, trial.number, trial) for trial in finished(study) if trial.value is not None]
    return min(good)[2] if good else None


def ask(study: Study, seed: int, space: Mapping[str, BaseDistribution]) -> Trial:
    """Draw the settings of the next trial (tree-structured Parzen estimator).

    The draw depends on the seed and the finished trials alone, so an interrupted trial is drawn again, and a sweep that
    was stopped ends like one that was not.
    """
    import optuna

    [state] = np.random.SeedSequence([seed, len(finished(study))]).generate_state(1)
    study.sampler = optuna.samplers.TPESampler(seed=int(state))
    return study.ask(dict(space))


def succeed(study: Study, trial: Trial, value: float, seconds: float) -> None:
    """Write down a trial's value."""
    trial.set_user_attr(SECONDS, seconds)
    study.tell(trial, value)


def fail(study: Study, trial: Trial, reason: str) -> None:
    """Write down why a trial has no value."""
    from optuna.trial import TrialState

    trial.set_user_attr(ERROR, reason)
    study.tell(trial, state=TrialState.FAIL)
