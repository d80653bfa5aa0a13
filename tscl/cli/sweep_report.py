"""What a sweep writes and prints: the table of its trials, and the settings of the best one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import yaml

from tscl.cli.search_space import laid_over, settings_of
from tscl.cli.study import ERROR, SECONDS, Plan, best_of, finished
from tscl.errors import ConfigError
from tscl.files import atomic_file

if TYPE_CHECKING:
    from optuna import Study

TRIALS, BEST = "trials.csv", "best.yaml"
SHOWN = 10
"""So many of the best trials are shown on the screen."""


def _table(plan: Plan, study: Study) -> pd.DataFrame:
    """Return a row a finished trial."""
    rows = [
        {
            "trial": trial.number,
            plan.objective: trial.value if trial.value is not None else np.nan,
            **settings_of(plan.space, trial.params),
            "seconds": trial.user_attrs.get(SECONDS, np.nan),
            "error": trial.user_attrs.get(ERROR, ""),
        }
        for trial in finished(study)
    ]
    return pd.DataFrame(rows)


def write_trials(plan: Plan, study: Study) -> None:
    """Write the table of trials and the settings of the best one."""
    with atomic_file(plan.folder / TRIALS) as temporary:
        _table(plan, study).to_csv(temporary, index=False)
    best = best_of(study)
    if best is None:
        return
    settings = laid_over(plan.base, settings_of(plan.space, best.params))
    with atomic_file(plan.folder / BEST) as temporary:
        head = (
            f"# Trial {best.number} of {len(finished(study))}: {plan.objective} {best.value:.4g} on validation data\n"
        )
        temporary.write_text(head + yaml.safe_dump(settings, sort_keys=False))


def report_trials(plan: Plan, study: Study) -> None:
    """Print the best trials and how to go on."""
    table, best = _table(plan, study), best_of(study)
    good = table[table["error"] == ""].sort_values(
        plan.objective, ascending=plan.direction == "minimize", kind="stable"
    )
    if best is None:
        raise ConfigError(f"none of {len(table)} trials succeeded; the last one said: {table['error'].iloc[-1]}")
    write_trials(plan, study)
    short = _short(plan.space)
    columns = ["trial", plan.objective, *short]
    names = ["trial", plan.objective, *short.values()]
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for row in good[columns].head(SHOWN).itertuples(index=False):
        print("| " + " | ".join(_cell(value) for value in row) + " |")
    failed = len(table) - len(good)
    print(f"\n{len(table)} trials, {failed} of them failed; all are in {plan.folder / TRIALS}")
    print(f"the best one is the run {plan.trial(best.number)}; to train with its settings again:")
    print(f"tscl fit --config {plan.config} --config {plan.folder / BEST}")


def in_words(plan: Plan, settings: Mapping[str, Any]) -> str:
    """Return the settings of a trial in one line."""
    return ", ".join(f"{name} {_cell(settings[full])}" for full, name in _short(plan.space).items())


def _short(space: Mapping[str, Any]) -> dict[str, str]:
    """Return settings and the last part of their names, where that tells them apart."""
    last = [name.rsplit(".", 1)[-1] for name in space]
    return {name: one if last.count(one) == 1 else name for name, one in zip(space, last, strict=True)}


def _cell(value: Any) -> str:
    if isinstance(value, dict) and "class_path" in value:
        given = ", ".join(f"{name}={_cell(one)}" for name, one in value.get("init_args", {}).items())
        return f"{value['class_path'].rsplit('.', 1)[-1]}({given})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
