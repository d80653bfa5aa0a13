"""``tscl evaluate``: a run judged on patients that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tscl.cli.run import PATIENTS, RESULTS, SUMMARY, Run, append_results, open_run, root_options
from tscl.data import Split, check_seen
from tscl.data.leakage import name_some
from tscl.errors import ConfigError
from tscl.evaluation import evaluate
from tscl.evaluation.protocol import Method, Results
from tscl.files import atomic_file


def evaluate_run(
    run: Path,
    root: Path | None = None,
    patients: list[str] | None = None,
    target: str | None = None,
    methods: list[Method] | None = None,
    label_fractions: list[float] | None = None,
    seeds: list[int] | None = None,
    baselines: bool = True,
    pooling: str = "max",
    finetune_epochs: int = 50,
    finetune_lr: float = 1e-4,
    accelerator: str = "auto",
    allow_seen: bool = False,
) -> None:
    """Fit classifiers on the run's training patients and score them on patients that pretraining never saw.

    A run on a long series is judged by its forecasts, or by the anomalies that it finds, and has other options:
    ``tscl evaluate --run RUN --help`` shows those of a run.

    Args:
        run: Folder of a finished run.
        root: Folder of recordings of the same kind; those of the run by default.
        patients: Test on these patients; the run's test patients, or all new ones under another root, by default.
        target: Label column; that of the run by default.
        methods: Logistic regression (probe), support vector machine (svm) or nearest neighbour (knn) on frozen
            embeddings, encoder and head trained together (finetune).
        label_fractions: Shares of the training patients whose labels are used.
        seeds: One repetition each.
        baselines: Also judge the same encoder with random weights (probed, and trained from scratch).
        pooling: How the embeddings are pooled over time.
        finetune_epochs: Most passes over the labelled windows; validation patients stop it earlier.
        finetune_lr: Learning rate of the fine-tuning.
        accelerator: auto, cpu or gpu.
        allow_seen: Test also on patients that pretraining saw. The numbers are then not those of unseen patients.
    """
    opened = open_run(run, root_options(root, run))
    if target is not None:
        opened.data = opened.data.with_target(target)
    if opened.data.target is None:
        raise ConfigError("the run has no label column: name one with --target.")
    split = _split(opened, patients, allow_seen)
    results = evaluate(
        opened.encoder,
        split,
        methods=tuple(methods or ("probe", "finetune")),
        label_fractions=tuple(label_fractions or (1.0,)),
        seeds=tuple(seeds or (0, 1, 2)),
        baselines={"random weights": opened.fresh} if baselines else {},
        pooling=pooling,
        finetune={"max_epochs": finetune_epochs, "lr": finetune_lr},
        accelerator=accelerator,
        progress=True,
    )
    _write(opened, results, split)


def _split(opened: Run, patients: Sequence[str] | None, allow_seen: bool) -> Split:
    """Return the run's split with the test side that was asked for, after the check that it was not seen."""
    by = opened.manifest["by"]
    ids = opened.data.metadata[by].astype(str)
    known = {str(one) for side in ("train", "val", "test") for one in opened.manifest.get(side, {}).get("ids", [])}
    split = opened.split()
    if patients is not None:
        missing = sorted(set(patients) - set(ids))
        if missing:
            raise ConfigError(f"there are no recordings of {by} {missing}; there are {sorted(set(ids))}.")
        test = opened.data.select(np.isin(ids, list(patients)))
    elif set(ids) - known:
        test = opened.data.select(~np.isin(ids, list(known)))
    else:
        test = split.test
    if not allow_seen:
        check_seen(opened.manifest, test)
        return replace(split, test=test)
    keep = ~np.isin(split.train.metadata[by].astype(str), test.metadata[by].astype(str).unique())
    val = split.val
    if val is not None:
        val = val.select(~np.isin(val.metadata[by].astype(str), test.metadata[by].astype(str).unique()))
    return replace(split, train=split.train.select(keep), val=val if val is not None and len(val) else None, test=test)


def _write(opened: Run, results: Results, split: Split) -> None:
    table = results.to_markdown(metrics=("accuracy", "precision", "recall", "f1", "auroc", "auprc"))
    by = opened.manifest["by"]
    tested = name_some(sorted(split.test.metadata[by].astype(str).unique()))
    statement = f"Tested on {by} {tested}. Mean ± standard deviation over seeds [95 % interval over patients]."
    folder = opened.folder / RESULTS
    results.to_csv(folder / "results.csv")
    tables = {PATIENTS: results.by_patient(split.test.classes), SUMMARY: results.summary()}  # reports look for the last
    for name, frame in tables.items():
        with atomic_file(folder / name) as temporary:
            frame.to_csv(temporary, index=False)
    append_results(opened.folder, statement, table)
