"""Brain-to-speech on the simulated study: the model, its parts left out one by one, and a linear rival.

    python benchmarks/quality/brain_speech.py --speech DIR [--models DIR] [--snrs -20 -25] [--seeds 0 1 2]

DIR holds WAV files of speech with transcripts; ``--models`` names a folder with ``melspectrogram.onnx`` and
``embedding_model.onnx`` (openWakeWord), for the pretrained speech features. The settings are those of
``configs/brain_speech/simulated.yaml``, the ones that ``tscl fit`` uses. A seed draws the subjects and their noise, the
weights and the order; the split of the speech is the same for all. What a run measured is kept in ``--work``, so an
interrupted benchmark goes on. Printed and written to ``docs/results/brain_speech.md``, with the README's table: mean ±
standard deviation over seeds, and a 95 % bootstrap interval over subjects.
"""

from __future__ import annotations

import argparse
import logging
import platform
import time
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from joblib import Parallel, delayed
from pretrain import pretrain

import tscl
from tscl.cli.fit import build
from tscl.evaluation import BackwardModel, RetrievalResults, evaluate_retrieval
from tscl.plotting import accuracy_by_subject, save_figure

HERE = Path(__file__).resolve().parents[2]
CONFIG = HERE / "configs" / "brain_speech" / "simulated.yaml"
ENCODER = "--model.init_args.encoder.init_args"
LINEAR = "linear backward model"
PRETRAINED = "pretrained speech"
VARIANTS: dict[str, list[str]] = {
    "full model": [],
    "without spatial attention": [f"{ENCODER}.attention", "false"],
    "without subject layers": [f"{ENCODER}.subject_layer", "false"],
    "regression": ["--model.init_args.loss", "tscl.losses.RegressionLoss"],
    PRETRAINED: [],
    LINEAR: [],
}
MARKS = "<!-- brain speech -->", "<!-- /brain speech -->"
SHORT = ("top1", "top10", "median_relative_rank")
METRICS = ("top1", "top5", "top10", "median_relative_rank", "word_top1", "word_top10")


def speech_options(models: Path) -> list[str]:
    """Return the options that take Google's speech embedding in the place of the mel bands."""
    onnx = "tscl.data.speech.OnnxSpeech"
    mel = f"{{class_path: {onnx}, init_args: {{path: {models / 'melspectrogram.onnx'}, scale: 32767, chunk: 300}}}}"
    settings = f"{{path: {models / 'embedding_model.onnx'}, front_end: {mel}, scale: 0.1, shift: 2.0}}"
    return ["--data.init_args.representation", f"{{class_path: {onnx}, init_args: {settings}}}"]


def run(variant: str, snr: float, seed: int, args: argparse.Namespace) -> RetrievalResults:
    """Return what was measured of one variant, now or earlier."""
    kept = Path(args.work) / f"{variant.replace(' ', '_')}_{snr:g}_{seed}"
    if not (kept / "queries.csv").exists():
        measure(variant, snr, seed, args, kept)
    table, candidates = (pd.read_csv(kept / f"{name}.csv") for name in ("queries", "candidates"))
    candidates["word"] = candidates["word"].astype(object).where(candidates["word"].notna(), None)
    return RetrievalResults(table, candidates, tuple(sorted(table["subject"].unique())))


def measure(variant: str, snr: float, seed: int, args: argparse.Namespace, kept: Path) -> None:
    """Train one variant, judge it, and write what was measured."""
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    began = time.perf_counter()
    options = ["--config", str(CONFIG), "--seed_everything", str(seed), *VARIANTS[variant]]
    options += ["--data.init_args.speech", args.speech, "--data.init_args.study.init_args.snr", str(snr)]
    options += ["--data.init_args.study.init_args.seed", str(seed), "--data.init_args.cache", args.cache]
    if variant == PRETRAINED:
        options += speech_options(Path(args.models).resolve())
    cli: Any = build(options, run=False)
    module = cli.datamodule
    module.setup()
    model: Any
    if variant == LINEAR:
        model = BackwardModel().fit(module.split.train, module.split.val)
    else:
        settings = {name: cli.config["trainer"][name] for name in ("max_epochs", "limit_train_batches")}
        model = pretrain(cli.model, module, num_sanity_val_steps=0, **settings)
    results = evaluate_retrieval({variant: model}, module.split.test, seed=seed)
    kept.mkdir(parents=True, exist_ok=True)
    results.candidates.to_csv(kept / "candidates.csv", index=False)
    (kept / "seconds.txt").write_text(f"{time.perf_counter() - began:.0f}\n{module.data!r}\n")
    results.to_csv(kept / "queries.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", required=True)
    parser.add_argument("--models")
    parser.add_argument("--snrs", type=float, nargs="+", default=[-20.0, -25.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", default="runs/benchmark_brain_speech")
    parser.add_argument("--cache", default="runs/cache")
    parser.add_argument("--n_jobs", type=int, default=2)
    args = parser.parse_args()
    variants = [name for name in VARIANTS if name != PRETRAINED or args.models]
    jobs = [(variant, snr, seed) for seed in args.seeds for snr in args.snrs for variant in variants]
    for snr in args.snrs:  # what the variants share is simulated once
        for seed in args.seeds:
            options = ["--config", str(CONFIG), "--data.init_args.speech", args.speech]
            options += ["--data.init_args.study.init_args.snr", str(snr), "--data.init_args.cache", args.cache]
            build([*options, "--data.init_args.study.init_args.seed", str(seed)], run=False).datamodule.load()
    done = Parallel(n_jobs=args.n_jobs, verbose=10)(delayed(run)(*job, args) for job in jobs)
    described = (Path(args.work) / f"full_model_{args.snrs[0]:g}_{args.seeds[0]}" / "seconds.txt").read_text()
    lines = [
        "# Brain-to-speech, simulated",
        "",
        f"{described.splitlines()[1]}; settings `configs/brain_speech/simulated.yaml`; seeds {args.seeds}; tscl "
        f"{tscl.__version__}, torch {torch.__version__}, Python {platform.python_version()}.",
        "",
        "A seed draws subjects, noise, weights and order; the split of the speech is the same for all. Mean ± standard "
        "deviation over seeds [95 % bootstrap interval over subjects].",
        "",
    ]
    short: list[str] = []
    for snr in args.snrs:
        parts = [results for (_, at, _), results in zip(jobs, done, strict=True) if at == snr]
        results = RetrievalResults.side_by_side(parts)
        lines += [f"## {snr:g} dB", "", results.to_markdown(metrics=METRICS, statement=False), ""]
        head, rule, *rows = results.to_markdown(metrics=SHORT, statement=False).splitlines()
        short = [*(short or [f"| response over noise {head}", f"|---{rule}"]), *(f"| {snr:g} dB {row}" for row in rows)]
        subjects = results.by_subject()
        shown = subjects[subjects["model"].isin(["full model", LINEAR, "chance"])]
        figure = f"brain_speech_subjects_{abs(snr):g}.png"
        save_figure(accuracy_by_subject(shown, "top10"), HERE / "docs" / "figures" / figure)
        lines += [
            "Odd subjects have 102 magnetometers, even ones 32 electrodes; mean over seeds:",
            "",
            f"![Top-10 accuracy by subject](../figures/{figure})",
            "",
        ]
    lines.append(results.statement())
    (HERE / "docs" / "results" / "brain_speech.md").write_text("\n".join(lines) + "\n")
    readme = HERE / "README.md"
    before, rest = readme.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    readme.write_text("\n".join([before + MARKS[0], "", *short, "", MARKS[1] + after]))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
