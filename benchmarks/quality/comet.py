"""COMET, its heads left out one by one, and its rivals on unseen patients of eegmat and LUDB.

    python benchmarks/quality/comet.py --root DIR [--sets eegmat ludb] [--overlay configs/base/paper_size.yaml]

DIR holds the folders ``eegmat`` and ``ludb``. The settings are those of ``configs/comet/<set>.yaml``, the ones that
``tscl fit`` uses; an overlay changes them for all runs. The patients are parted into as many folds as there are seeds;
seed i pretrains, fits and chooses without fold i and is judged on it, so every patient is tested once. Printed and
written to ``docs/results/`` (with the README's table from all sets there): mean ± standard deviation over the seeds,
and a 95 % bootstrap interval over all patients.
"""

from __future__ import annotations

import argparse
import logging
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pretrain import pretrain
from torch import nn

import tscl
from tscl.augmenters import Compose, LatentMask, OverlappingCrops
from tscl.cli.fit import build
from tscl.data import Split, WindowDataModule, WindowDataset, kfold
from tscl.evaluation import ClassicalBaseline, Results, evaluate
from tscl.heads import HierarchicalHead
from tscl.learners import ContrastiveLearner

HERE = Path(__file__).resolve().parents[2]
NOTE = (
    "Patients are parted into three folds, and each is judged by models that never saw it. Probe: logistic regression "
    "on frozen embeddings; finetune: encoder and head trained together, which for random weights is the supervised "
    "network from scratch. Mean ± standard deviation over folds [95 % bootstrap interval over patients]. *Calibrated* "
    "models centre embeddings (log-variance over time) or standardise band powers within each patient, which uses all "
    "unlabelled windows of a test patient."
)
MARKS = "<!-- results -->", "<!-- /results -->"


@dataclass(frozen=True)
class Task:
    """What is asked of a data set, and how its embeddings are read."""

    config: str
    label: str
    unit: str
    pooling: str
    classical: dict[str, Callable[[int], Any]]
    calibrated_pooling: str | None = None


TASKS = {
    "eegmat": Task(
        "configs/comet/eegmat.yaml",
        "rest or mental arithmetic, a window of 4 s",
        "window",
        "max",
        {
            "band powers": lambda _: ClassicalBaseline("band_powers", class_weight="balanced"),
            "band powers, calibrated": lambda _: ClassicalBaseline(
                "band_powers", standardise_by="patient", class_weight="balanced"
            ),
        },
        calibrated_pooling="logstd",
    ),
    "ludb": Task(
        "configs/comet/ludb.yaml",
        "ventricular hypertrophy or not, a patient (vote over heartbeats)",
        "patient",
        "mean/7+max/7",
        {"beat amplitudes": lambda _: ClassicalBaseline("amplitudes", class_weight="balanced")},
    ),
}


def trained(args: argparse.Namespace, task: Task, variant: str, split: Split, seed: int) -> nn.Module:
    """Return the encoder that a variant of the configuration learns from the training windows."""
    cli = build([*configs(args, task), "--seed_everything", str(seed)], run=False)
    model: ContrastiveLearner = cli.model
    heads, views = list(model.heads), dict(model.views)
    if variant == "TS2Vec":
        heads = [HierarchicalHead(weight=1.0)]
        views = {"crops": Compose([OverlappingCrops(), LatentMask("binomial")])}
    elif variant.startswith("COMET without "):
        heads = [head for head in heads if head.level != variant.rsplit(" ", 1)[1]]
    elif variant == "COMET with patient":
        level = next(head for head in heads if head.needs_ids)
        heads = [*heads, type(level)("patient", weight=level.weight)]
    learner = ContrastiveLearner(
        model._factory, heads, views, lr=model.lr, weight_decay=model.weight_decay, averaging=model.averaging, seed=seed
    )
    module = WindowDataModule(
        split.train,
        batch_size=cli.datamodule.batch_size,
        windows_per_trial=cli.datamodule.windows_per_trial,
        trials_per_patient=cli.datamodule.trials_per_patient,
        seed=seed,
    )
    return pretrain(learner, module, max_epochs=cli.trainer.max_epochs, precision=cli.trainer.precision)


def fresh(args: argparse.Namespace, task: Task, seed: int, channels: int) -> nn.Module:
    """Return the same architecture with random weights."""
    model = build([*configs(args, task), "--seed_everything", str(seed)], run=False).model
    return model.build(channels).eval()


def configs(args: argparse.Namespace, task: Task) -> list[str]:
    """Return the configuration files as arguments."""
    files = [HERE / task.config, *args.overlay]
    run = ["--trainer.default_root_dir", "runs/benchmark"]
    return [*(part for file in files for part in ("--config", str(file))), *run, *args.override]


def variants(args: argparse.Namespace, task: Task) -> list[str]:
    """Return what is pretrained: COMET, COMET without each of its heads, with the patient's, TS2Vec."""
    levels = [head.level for head in build(configs(args, task), run=False).model.heads]
    extra = [] if "patient" in levels else ["COMET with patient"]
    return ["COMET", *(f"COMET without {level}" for level in levels), *extra, "TS2Vec"]


def one_fold(args: argparse.Namespace, task: Task, data: WindowDataset, split: Split, seed: int) -> Results:
    """Pretrain everything on one fold and judge it."""
    shared: dict[str, Any] = {
        "label_fractions": (1.0,), "seeds": (seed,), "n_resamples": 2, "class_weight": "balanced",
        "finetune": {"max_epochs": args.finetune_epochs, "lr": 3e-4},
    }  # fmt: skip
    parts = []

    def judge(name: str, model: Any, methods: tuple[str, ...] = ("probe",), calibrated: bool = False) -> None:
        pooling = task.calibrated_pooling if calibrated else task.pooling
        centre = "patient" if calibrated else None
        parts.append(evaluate(model, split, name=name, methods=methods, pooling=pooling, centre_by=centre, **shared))

    for variant in variants(args, task):
        began = time.perf_counter()
        encoder = trained(args, task, variant, split, seed)
        print(f"  seed {seed}, {variant}: pretrained in {time.perf_counter() - began:.0f} s", flush=True)
        judge(variant, encoder, ("probe", "finetune") if variant == "COMET" else ("probe",))
        if variant == "COMET" and task.calibrated_pooling:
            judge("COMET, calibrated", encoder, calibrated=True)
    random = fresh(args, task, seed, data.shape[1])
    judge("random weights", random, ("probe", "finetune"))
    if task.calibrated_pooling:
        judge("random weights, calibrated", random, calibrated=True)
    for name, make in task.classical.items():
        judge(name, make)
    return Results.side_by_side(parts)


def measure(args: argparse.Namespace, name: str) -> str:
    """Return the table of one data set."""
    task = TASKS[name]
    cli = build([*configs(args, task), "--data.root", str(args.root / name)], run=False)
    data = cli.datamodule.load()
    print(f"{name}: {data!r}", flush=True)
    began = time.perf_counter()
    folds = kfold(data, n_splits=len(args.seeds), val=args.val, seed=0)
    results = Results.join(
        [one_fold(args, task, data, split, seed) for seed, split in zip(args.seeds, folds, strict=True)]
    )
    results.to_csv(args.out / f"{name}.csv")
    table = results.to_markdown(metrics=("accuracy", "f1", "auroc", "auprc"))
    keep = [line for i, line in enumerate(table.splitlines()) if i < 2 or f"| {task.unit} |" in line]
    minutes = (time.perf_counter() - began) / 60
    return "\n".join(
        [
            f"# {name}: {task.label}",
            "",
            f"{data!r}; settings `{task.config}`; {len(args.seeds)} folds, seeds {args.seeds}; "
            f"{minutes:.0f} minutes on {torch.get_num_threads()} thread(s); tscl {tscl.__version__}, torch "
            f"{torch.__version__}, Python {platform.python_version()}.",
            "",
            NOTE,
            "",
            *keep,
            "",
        ]
    )


def short(text: str) -> str:
    """Return the title and the F1 and AUROC columns of a written table, for the README."""
    lines = text.splitlines()
    rows = [line.split("|") for line in lines if line.startswith("|")]
    head = [cell.strip() for cell in rows[0]]
    columns = [head.index(name) for name in ("model", "method", "f1", "auroc")]
    table = ["|".join(["", *(row[column] for column in columns), ""]) for row in rows]
    return "\n".join([f"**{lines[0].lstrip('# ')}**", "", *table])


def fill_readme(folder: Path) -> None:
    """Put the tables of all sets into the README, between its marks."""
    readme = HERE / "README.md"
    before, rest = readme.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    paths = [folder / f"{name}.md" for name in sorted(TASKS)]
    tables = [short(path.read_text()) for path in paths if path.exists()]
    readme.write_text("\n\n".join([before + MARKS[0], NOTE, *tables, MARKS[1] + after]))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=sorted(TASKS), default=sorted(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--finetune-epochs", type=int, default=20)
    parser.add_argument("--val", type=float, default=0.15, help="share of the patients for model selection")
    parser.add_argument("--overlay", nargs="*", type=Path, default=[], help="configurations laid over the set's own")
    parser.add_argument("--override", nargs="*", default=[], help="settings such as --override=--trainer.max_epochs=2")
    parser.add_argument("--out", type=Path, default=HERE / "docs" / "results", help="folder of the tables")
    args = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.sets:
        text = measure(args, name)
        print(text, flush=True)
        (args.out / f"{name}.md").write_text(text)
    fill_readme(args.out)


if __name__ == "__main__":
    main()
