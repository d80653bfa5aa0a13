"""The same task with every encoder: parameters, time and memory of a COMET step, and the probe on unseen patients.

    python benchmarks/quality/encoders.py --steps-only
    python benchmarks/quality/encoders.py --quality --root DIR

DIR is the folder of eegmat. The settings are those of ``configs/comet/eegmat.yaml``, with each encoder in turn at about
the size of the default one where its library lets it shrink, 64 dimensions, and the same number of steps. Time and
memory come from random batches of the same shape, each encoder in a process of its own, in turn, several times; do not
run anything beside. Quality is measured by patient folds as in ``comet.py``, and is resumed where it was stopped. Both
write a table of numbers to ``docs/results/``, and the page from what is there: ``encoders.md``, whose table goes
between the marks of ``docs/encoders.md`` too. Encoders whose library is not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import nn

import tscl
from tscl.cli.fit import build
from tscl.data import WindowDataModule, kfold
from tscl.encoders import BrainConv, BraindecodeEncoder, CausalConvEncoder, DilatedConvEncoder, TsaiEncoder
from tscl.evaluation import evaluate
from tscl.files import atomic_file
from tscl.learners import ContrastiveLearner
from tscl.types import Batch

HERE = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(HERE / "benchmarks" / folder) for folder in ("speed", "quality")]
from measuring import measure_side, peak, resident  # noqa: E402
from pretrain import pretrain  # noqa: E402

CONFIG = HERE / "configs" / "comet" / "eegmat.yaml"
MARKS = "<!-- measured -->", "<!-- /measured -->"
DEFAULT = "DilatedConvEncoder"
NAMES = [
    *("Fp1", "Fp2", "F3", "F4", "F7", "F8", "T3", "T4", "C3", "C4"),
    *("T5", "T6", "P3", "P4", "O1", "O2", "Fz", "Cz", "Pz"),
]
BATCH, TIMES, SFREQ, DIM = 64, 400, 100.0, 64
TSAI = {
    "InceptionTimePlus": {"nf": 16, "depth": 3},
    "ResNetPlus": {"nf": 16},
    "XResNet1dPlus": {"layers": [1, 1], "expansion": 1, "stride": 1},
    "XceptionTimePlus": {"nf": 8},
    "TCN": {"layers": [32] * 6},
    "TSTPlus": {"d_model": 32, "n_heads": 4, "d_ff": 64, "n_layers": 2, "max_seq_len": 100},
    "PatchTST": {"d_model": 16, "n_heads": 4, "d_ff": 32},
    "TSiTPlus": {"d_model": 32, "n_heads": 4, "depth": 2, "token_size": 4, "verbose": False},
    "LSTM_FCNPlus": {"hidden_size": 32, "conv_layers": [32, 64, 32]},
    "OmniScaleCNN": {},
}
BRAINDECODE = {
    "EEGNet": {},
    "Deep4Net": {},
    "EEGConformer": {},
    "Labram": {"ch_names": NAMES, "sfreq": SFREQ},
    "BIOT": {"sfreq": SFREQ},
}


def encoders() -> dict[str, Callable[[int], nn.Module]]:
    """Return what builds each encoder from the number of channels, by name; the slowest last."""
    found: dict[str, Callable[[int], nn.Module]] = {
        DEFAULT: partial(DilatedConvEncoder, dim=DIM, hidden=32, depth=4),
        "CausalConvEncoder": partial(CausalConvEncoder, dim=DIM, hidden=32, depth=4, trend_kernels=[1, 2, 4, 8]),
        "BrainConv": partial(
            BrainConv, dim=DIM, n_subjects=1, hidden=32, depth=2, attention=False, subject_layer=False
        ),
    }
    if importlib.util.find_spec("braindecode") is not None:
        for model, settings in BRAINDECODE.items():
            found[model] = partial(BraindecodeEncoder, model=model, n_times=TIMES, dim=DIM, **settings)
    for arch, settings in TSAI.items():
        found[arch] = partial(TsaiEncoder, arch=arch, n_times=TIMES, dim=DIM, **settings)
    return found


def learner_of(name: str, channels: int, seed: int) -> ContrastiveLearner:
    """Return COMET as the configuration has it, around the encoder; a pooled one leaves the observation head out."""
    cli = build(["--config", str(CONFIG), "--seed_everything", str(seed)], run=False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = encoders()[name](channels)
    pooled = getattr(encoder, "pooled", False)
    heads = [head for head in cli.model.heads if not (pooled and getattr(head, "per_step", False))]
    return ContrastiveLearner(encoder, heads, dict(cli.model.views), lr=cli.model.lr, seed=seed)


def run_side(args: argparse.Namespace) -> dict[str, float]:
    """Train on random batches, and return what a step takes and what the encoder is."""
    torch.manual_seed(0)
    learner = learner_of(args.side, len(NAMES), 0)
    encoder = learner.encoder
    assert encoder is not None
    optimizer = learner.configure_optimizers()
    ids = torch.arange(BATCH)
    batch = Batch(torch.randn(BATCH, len(NAMES), TIMES), {"recording": ids // 8, "trial": ids // 4})
    before, times = resident(), []
    for _ in range(1 + args.timed_steps):
        begin = time.perf_counter()
        optimizer.zero_grad()
        learner.weighted_loss(batch)[0].backward()
        optimizer.step()
        learner.average.update_parameters(encoder)
        times.append(time.perf_counter() - begin)
    memory = peak() - before
    with torch.no_grad():
        steps = 1 if getattr(encoder, "pooled", False) else encoder.eval()(batch.x[:2]).shape[2]
    parameters = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    return {"seconds": statistics.median(times[1:]), "memory": memory, "parameters": parameters, "steps_out": steps}


def measure_steps(args: argparse.Namespace) -> None:
    """Time every encoder in turn, round by round, and write a row each; memory with freed blocks returned."""
    returning = {"MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "1000000"}
    rounds: list[dict[str, dict[str, float]]] = []
    memory: dict[str, float] = {}
    for number in range(args.rounds):
        rounds.append({name: measure_side(name) for name in args.encoders})
        print(f"round {number + 1} of {args.rounds} is done", flush=True)
    for name in args.encoders:
        memory[name] = measure_side(name, **returning)["memory"]
    rows = []
    for name in args.encoders:
        ratios = [one[name]["seconds"] / one[DEFAULT]["seconds"] for one in rounds]
        seconds = statistics.median(one[name]["seconds"] for one in rounds)
        facts = {key: int(rounds[0][name][key]) for key in ("parameters", "steps_out")}
        rows.append(
            {
                "encoder": name,
                **facts,
                "ms": 1000 * seconds,
                "ratio": statistics.median(ratios),
                "ratio_low": min(ratios),
                "ratio_high": max(ratios),
                "mb": memory[name],
                **{key: getattr(args, key) for key in ("threads", "rounds", "timed_steps")},
            }
        )
    keep(pd.DataFrame(rows), args.out / "encoders_steps.csv")


def measure_quality(args: argparse.Namespace) -> None:
    """Pretrain and probe every encoder on every fold that is not in the table yet."""
    path = args.out / "encoders.csv"
    table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["encoder", "fold", "steps"])
    done = set(zip(table["encoder"], table["fold"], table["steps"], strict=True))
    data = build(["--config", str(CONFIG), "--data.root", str(args.root)], run=False).datamodule.load()
    for name in args.encoders:
        for fold, split in enumerate(kfold(data, n_splits=args.folds, val=0.15, seed=0)):
            if (name, fold, args.steps) in done:
                continue
            began = time.perf_counter()
            learner = learner_of(name, data.shape[1], fold)
            random = learner_of(name, data.shape[1], fold).encoder
            module = WindowDataModule(split.train, batch_size=BATCH, seed=fold)
            encoder = pretrain(learner, module, max_steps=args.steps, max_epochs=-1)
            results = evaluate(
                encoder,
                split,
                methods=("probe",),
                label_fractions=(1.0,),
                seeds=(fold,),
                baselines={"random": random.eval()},
                class_weight="balanced",
                n_resamples=2,
            ).table
            rows = results[(results["unit"] == "window") & results["metric"].isin(["f1", "auroc"])]
            rows = rows.assign(encoder=name, fold=fold, steps=args.steps)
            table = pd.concat([table, rows[["encoder", "fold", "steps", "model", "metric", "value"]]])
            keep(table, path)
            print(f"{name}, fold {fold}: {time.perf_counter() - began:.0f} s", flush=True)


def keep(table: pd.DataFrame, path: Path) -> None:
    """Write a table of numbers, all or nothing."""
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


def page(folder: Path) -> tuple[str, str]:
    """Return how it was measured, and the table of what is measured so far in the order of the encoders."""
    steps, quality = (folder / name for name in ("encoders_steps.csv", "encoders.csv"))
    costs = pd.read_csv(steps).set_index("encoder") if steps.exists() else pd.DataFrame()
    columns = ["encoder", "fold", "steps", "model", "metric", "value"]
    scores = pd.read_csv(quality) if quality.exists() else pd.DataFrame(columns=columns)
    notes = [
        f"Windows of {len(NAMES)} channels and {TIMES} steps, {BATCH} a batch; settings `{CONFIG.relative_to(HERE)}` "
        f"with {DIM} dimensions. tscl {tscl.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}."
    ]
    if len(costs):
        how = {key: f"{costs[key].iloc[0]:.0f}" for key in ("threads", "rounds", "timed_steps")}
        notes.append(
            f"Time and memory: CPU, fp32, {how['threads']} thread(s), median of {how['rounds']} rounds of "
            f"{how['timed_steps']} steps, and its ratio to `{DEFAULT}` within a round; memory is what a step needs "
            "beyond the process before it."
        )
    if len(scores):
        notes.append(
            f"F1 and AUROC: probe, per window, after {scores['steps'].max()} steps, mean ± standard deviation over "
            f"{scores['fold'].nunique()} folds of patients; *random*: the same network without pretraining."
        )
    header = ["encoder", "T'", "parameters", "ms a step", "ratio", "MB", "F1", "F1, random", "AUROC", "AUROC, random"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    order = [DEFAULT, "CausalConvEncoder", "BrainConv", *TSAI, *BRAINDECODE]
    for name in [one for one in order if one in costs.index or one in set(scores["encoder"])]:
        cost = ["-"] * 5
        if name in costs.index:
            row = costs.loc[name]
            cost = [f"{row['steps_out']:.0f}", f"{row['parameters'] / 1000:,.1f} k", f"{row['ms']:.0f}"]
            cost += [f"{row['ratio']:.2f}", f"{row['mb']:.0f}"]
        of = scores[scores["encoder"] == name]
        cells = [
            spread(of[(of["model"] == model) & (of["metric"] == metric)], scores["fold"].nunique())
            for metric in ("f1", "auroc")
            for model in ("pretrained", "random")
        ]
        lines.append("| " + " | ".join([f"`{name}`", *cost, *cells]) + " |")
    return "\n\n".join(notes), "\n".join(lines)


def spread(rows: pd.DataFrame, folds: int) -> str:
    """Return mean ± standard deviation over folds; a dash where some are not measured yet."""
    return "-" if rows["fold"].nunique() < max(folds, 1) else f"{rows['value'].mean():.3f} ± {rows['value'].std():.3f}"


def write(folder: Path) -> None:
    """Write the page, and put its table between the marks of the page of encoders."""
    note, table = page(folder)
    title = "# Encoders on eegmat: rest or mental arithmetic, a window of 4 s"
    with atomic_file(folder / "encoders.md") as temporary:
        temporary.write_text("\n\n".join([title, note, table]) + "\n")
    print(table)
    docs = HERE / "docs" / "encoders.md"
    if folder == docs.parent / "results":
        before, rest = docs.read_text().split(MARKS[0])
        docs.write_text("\n\n".join([before + MARKS[0], table, MARKS[1] + rest.split(MARKS[1])[1]]))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--steps-only", action="store_true", help="measure time and memory of a step, without any data")
    what.add_argument("--quality", action="store_true", help="measure the probe on unseen patients")
    parser.add_argument("--root", type=Path, help="folder of eegmat")
    parser.add_argument("--encoders", nargs="+", choices=list(encoders()), default=list(encoders()), metavar="NAME")
    parser.add_argument("--steps", type=int, default=40, help="steps of pretraining")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--timed-steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=HERE / "docs" / "results", help="folder of the tables")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(args.threads)
    if args.side:
        print(json.dumps(run_side(args)))
        return
    if not args.steps_only and args.root is None:
        parser.error("the quality is measured on eegmat: give its folder with --root.")
    if DEFAULT not in args.encoders:
        args.encoders = [DEFAULT, *args.encoders]
    if not args.quality:
        measure_steps(args)
    if not args.steps_only:
        measure_quality(args)
    write(args.out)


if __name__ == "__main__":
    main()
