"""Abnormal heartbeats in half an hour of ECG: the streaming protocol of TS2Vec and scores that need no encoder.

    python benchmarks/quality/anomaly.py --root DIR [--record 100] [--seeds 0 1 2]

DIR holds the record of the MIT-BIH Arrhythmia Database (``.hea``, ``.dat``, ``.atr``). A step is an annotated beat with
the interval to the beat before (s) and the height of its R peak over the median of the second around it (mV). A beat
that is not annotated as normal is an anomaly, and so is the beat behind it, whose interval it changes; an alarm may
come at either. The first 40 % of the record train (without labels) and set the threshold, the last 40 % judge. Printed
and written to ``docs/results/anomaly.md``.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from pretrain import pretrain
from torch import nn

import tscl
from tscl.augmenters import Compose, LatentMask, OverlappingCrops
from tscl.data import SeriesDataModule
from tscl.encoders import CausalConvEncoder, DilatedConvEncoder, Encoder
from tscl.evaluation import difference_scores, evaluate_anomalies, ridge_residual_scores, spectral_residual_scores
from tscl.heads import HierarchicalHead
from tscl.learners import ContrastiveLearner

HERE = Path(__file__).resolve().parents[2]
DELAY = 1
CONTEXT = 64
ENCODERS = {"dilated": DilatedConvEncoder, "causal": CausalConvEncoder}
SHOWN = ("detected", "false_alarms", "f1", "point_f1", "auprc", "tolerant_auprc")


def series(folder: Path, record: str) -> pd.DataFrame:
    """Return a row a beat, stamped as if a second lay between two, with a column that marks the abnormal ones."""
    import wfdb

    recorded = wfdb.rdrecord(str(folder / record))
    signal, rate = recorded.p_signal[:, 0], recorded.fs
    found = wfdb.rdann(str(folder / record), "atr")
    beat = np.array(found.symbol) != "+"
    peaks, normal = found.sample[beat], np.array(found.symbol)[beat] == "N"
    heights = [signal[peak] - np.median(signal[max(0, peak - rate // 2) : peak + rate // 2]) for peak in peaks[1:]]
    abnormal = ~normal[1:] | ~np.append(True, normal[1:-1])
    times = pd.date_range("2000-01-01", periods=len(heights), freq="1s")
    intervals = np.diff(peaks) / rate
    return pd.DataFrame({"date": times, "interval": intervals, "height": heights, "abnormal": abnormal.astype(int)})


def fresh(kind: type[Encoder], seed: int) -> Encoder:
    """Return the encoder with random weights."""
    torch.manual_seed(seed)
    return kind(2, dim=64, hidden=32, depth=4).eval()


def trained(kind: type[Encoder], data: SeriesDataModule, seed: int, epochs: int) -> nn.Module:
    """Return the encoder that TS2Vec's objective learns from the training part."""
    learner = ContrastiveLearner(
        fresh(kind, seed),
        [HierarchicalHead(view="crops", weight=1.0)],
        {"crops": Compose([OverlappingCrops(), LatentMask("binomial")])},
        lr=1e-3,
        seed=seed,
    )
    return pretrain(learner, data, max_epochs=epochs)


def main() -> None:
    """Train, score, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--record", default="100")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=HERE / "docs" / "results" / "anomaly.md")
    args = parser.parse_args()
    began = time.perf_counter()
    table = series(args.root, args.record)
    models: dict = {
        "first difference": difference_scores,
        "ridge on 24 lags": ridge_residual_scores,
        "spectral residual": spectral_residual_scores,
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / "beats.csv"
        table.to_csv(path, index=False)
        for seed in args.seeds:
            data = SeriesDataModule(
                str(path), multivariate=True, label="abnormal", horizons=[1], split="40/20/40", covariates=False,
                window=CONTEXT + 1, stride=4, batch_size=16, seed=seed,
            )  # fmt: skip
            for name, kind in ENCODERS.items():
                models[f"{name}, random weights/{seed}"] = fresh(kind, seed)
                models[f"{name}, TS2Vec/{seed}"] = trained(kind, data, seed, args.epochs)
            print(f"seed {seed} trained after {time.perf_counter() - began:.0f} s", flush=True)
        task = data.task
    parts = []
    for window in (21, 0):
        found = evaluate_anomalies(models, task, delay=DELAY, window=window, context=CONTEXT)
        names = found.table["model"].str.split("/").str[0] + (", not adjusted" if window == 0 else "")
        parts.append(found.table.assign(model=names))
    rows = pd.concat(parts).groupby("model", sort=False)[[*SHOWN, "segments"]].agg(["mean", "std"])
    lines = ["| model | " + " | ".join(name.replace("_", " ") for name in SHOWN) + " |", "|---" * 7 + "|"]
    for model, row in rows.iterrows():
        lines.append(f"| {model} | " + " | ".join(cell(row[name], name) for name in SHOWN) + " |")
    labels = task.series.labels[task.parts.test]
    text = "\n".join(
        [
            f"# Abnormal beats in record {args.record} of MIT-BIH",
            "",
            f"`benchmarks/quality/anomaly.py`: {int(rows[('segments', 'mean')].iloc[0])} segments of abnormal beats in "
            f"the test part, {100 * labels.mean():.1f} % of its {len(labels)} beats (the AUPRC of a guess). An alarm "
            "may come one beat after the start. Threshold: mean + 4 standard deviations of the training part. Scores "
            "are divided by the mean of the 21 before them, or not adjusted. Mean ± standard "
            f"deviation over seeds {args.seeds}; {time.perf_counter() - began:.0f} s on {torch.get_num_threads()} "
            f"thread(s); tscl {tscl.__version__}, torch {torch.__version__}, Python {platform.python_version()}.",
            "",
            *lines,
            "",
        ]
    )
    args.out.write_text(text)
    print(text)


def cell(values: pd.Series, name: str) -> str:
    """Write mean and spread; counts with one digit."""
    digits = 1 if name in ("detected", "false_alarms") else 3
    spread = "" if np.isnan(values["std"]) else f" ± {values['std']:.{digits}f}"
    return f"{values['mean']:.{digits}f}{spread}"


if __name__ == "__main__":
    main()
