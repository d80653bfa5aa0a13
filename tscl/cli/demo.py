"""``tscl demo``: the whole way on a simulated cohort, in a few minutes on a laptop."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from tscl.errors import ConfigError

POOLING = "mean/6+max/6"
FINETUNE = {"max_epochs": 15, "lr": 1e-3, "patience": 4}
LOSSES = ("loss", "observation", "sample", "trial", "patient")


def demo(out: Path = Path("tscl-demo"), seed: int = 0, epochs: int = 12) -> None:
    """Simulate an ECG cohort, pretrain without labels, and judge on patients that training never saw.

    The recordings are standardised and cut into heartbeats as in COMET's paper. The table compares logistic regression
    on the pretrained embedding, the pretrained encoder fine-tuned, the same encoder with random weights, and the same
    network trained with labels only (random weights, finetune), at 100, 10 and 1 % of the training patients' labels.

    Args:
        out: New folder for the table, the model, the figures and the report.
        seed: Of the cohort, the split and the training.
        epochs: Passes over the training windows in pretraining.
    """
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty: remove it or choose another folder with --out.")
    import tscl
    from tscl.data.datasets import SimulatedECG
    from tscl.data.preprocessing import HeartbeatTrials, Preprocessing, Scale, SlidingWindows
    from tscl.evaluation import Results, evaluate

    began = time.perf_counter()
    beats = Preprocessing(
        steps=[Scale("standard")],
        trials=HeartbeatTrials(sfreq=100.0, length=120, incomplete="keep"),
        windows=SlidingWindows(1.2),
    )
    data = SimulatedECG(seed=seed).load(preprocessing=beats, on_error="skip")
    split = data.split(by="patient", val=0.2, test=0.3, seed=seed)
    _say(f"simulated cohort: {data!r}")
    _say(
        f"{len(split.train)} training, {len(split.val)} validation, {len(split.test)} test windows; "
        "no patient on two sides"
    )

    model = tscl.COMET(
        dim=64, hidden=32, depth=4, max_epochs=epochs, batch_size=128, lr=1e-3, pooling=POOLING, random_state=seed,
        verbose=True,
    )  # fmt: skip
    model.fit(split.train)
    _say("pretrained without labels; now judging it and its rivals")

    def judge(method: str, seeds: tuple[int, ...]) -> Results:
        return evaluate(
            model.encoder_,
            split,
            name="COMET",
            methods=(method,),
            seeds=seeds,
            baselines={"random weights": lambda seed: _random_encoder(model, seed)},
            pooling=POOLING,
            finetune=FINETUNE,
            progress=True,
        )

    results = Results.side_by_side([judge("probe", (0, 1, 2)), judge("finetune", (0,))])
    out.mkdir(parents=True, exist_ok=True)
    results.to_csv(out / "results.csv")
    (out / "results.md").write_text(results.to_markdown() + "\n")
    if not (out / "model").exists():
        model.save_pretrained(out / "model")
    _figures(model, split, out)
    _report(model, split, results, out)
    print(results.to_markdown())
    print(f"\n{time.perf_counter() - began:.0f} s; the table, the model, the figures and report.html are in {out}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _random_encoder(model: Any, seed: int) -> Any:
    import torch

    from tscl.encoders import DilatedConvEncoder

    torch.manual_seed(seed)
    return DilatedConvEncoder(**model.encoder_.config())


def _figures(model: Any, split: Any, out: Path) -> None:
    from tscl.plotting import embedding_map, save_figure, training_curves

    columns = [name for name in model.history_ if name.startswith("train/") and name.split("/")[1] in LOSSES]
    axes = training_curves(model.history_, columns=columns)
    save_figure(axes, out / "training.png")
    embeddings = model.transform(split.test)
    for column in ("patient", split.test.target):
        axes = embedding_map(embeddings, split.test.metadata[column].to_numpy())
        axes.set_title(f"windows of unseen patients, coloured by {column}")
        save_figure(axes, out / f"embedding_by_{column}.png")


def _report(model: Any, split: Any, results: Any, out: Path) -> None:
    from tscl.evaluation.report import Report, embedding_points, write_report
    from tscl.evaluation.report.leakage import check_manifest, check_split

    manifest = split.manifest
    report = Report(
        title="tscl demo",
        lead="COMET on a simulated ECG cohort, pretrained without labels, judged on patients that it never saw.",
        manifest=manifest,
        checks=[*check_manifest(manifest), check_split(split)],
        summary=results.summary(),
        statement="Mean ± standard deviation over seeds [95 % interval over patients].",
        patients=results.by_patient(split.test.classes),
        points=embedding_points(model.encoder_, split.sides, pooling=POOLING),
        history=model.history_,
    )
    write_report(report, out / "report.html")
