"""Classification of the UCR and UEA sets below a folder: accuracy and mean rank of learned embeddings and references.

    python benchmarks/quality/classification.py --root DIR [--sets GunPoint ...] [--models TS2Vec ...] [--seeds 0 1 2]

DIR, or folders below it, hold the sets as ``NAME.npz``, or ``NAME_TRAIN`` and ``NAME_TEST`` files (see
``tscl.data.datasets.Archive``). Every encoder has the same architecture and the same settings on every set, learns from
the training series without their labels (AutoTCL with TS2Vec: TS2Vec's head and the global one, on overlapping crops
whose second one is a learned view), and embeds each series by the maximum over time; a support vector machine
(TS2Vec's protocol), logistic regression and the nearest neighbour are fitted on the embeddings. Outside references, by
sktime: 1-NN with dynamic time warping in a band of 10 % of the length, all channels together, and MiniRocket with ridge
regression. All of them see series scaled per channel by the training series.

Rows are appended to ``classification.csv`` in ``--out`` when a model is done with a set, and what is there already is
not computed again; ``classification.md`` is written from all rows.
"""

from __future__ import annotations

import argparse
import logging
import math
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import tscl
from tscl.augmenters import Compose, CutOut, Jitter, LatentMask, OverlappingCrops, ParametricAugmenter, Scaling
from tscl.data import WindowDataset
from tscl.data.datasets import Archive
from tscl.encoders import DilatedConvEncoder
from tscl.evaluation import evaluate
from tscl.evaluation.baselines import fill_missing
from tscl.files import atomic_file
from tscl.heads import GlobalHead, HierarchicalHead

HERE = Path(__file__).resolve().parents[2]
SIZE: dict[str, int] = {"dim": 128, "hidden": 32, "depth": 5}
STEPS, BATCH, SECTION = 200, 16, 256
TEMPERATURE, AUGMENTER_LR = 0.1, 0.001
METHODS = ("svm", "probe", "knn")
CLAIMS = (
    ("AutoTCL", "TS2Vec", 0.012),
    ("AutoTCL", "MiniRocket", -0.01),
    ("AutoTCL with TS2Vec", "TS2Vec", 0.012),
    ("AutoTCL with TS2Vec", "MiniRocket", -0.01),
)
"""The first model's accuracy is to exceed the second's by this."""

Maker = Callable[[WindowDataset, int], Any]


def architecture(in_channels: int) -> nn.Module:
    """Return the encoder that all models share."""
    return DilatedConvEncoder(in_channels, **SIZE)


def learned(estimator: Callable[..., Any], **options: Any) -> Maker:
    """Return what trains an estimator on training series and gives its encoder."""

    def make(train: WindowDataset, seed: int) -> nn.Module:
        X = sections(train.numpy(), SECTION)
        epochs = math.ceil(STEPS / math.ceil(len(X) / BATCH))
        model = estimator(max_epochs=epochs, batch_size=BATCH, random_state=seed, **options)
        return model.fit(X).encoder_

    return make


def random_weights(train: WindowDataset, seed: int) -> nn.Module:
    """Return the architecture as it is before training."""
    torch.manual_seed(seed)
    return architecture(train.shape[1]).eval()


class Reference:
    """A classifier of sktime as :func:`tscl.evaluation.evaluate` takes it; its probabilities are its predictions."""

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier

    def fit(self, train: WindowDataset, val: WindowDataset | None = None) -> Reference:
        """Fit on series (n, C, T)."""
        self.n_classes = len(train.classes)
        self.classifier.fit(fill_missing(train.numpy()), train.y)
        return self

    def predict_proba(self, data: WindowDataset) -> np.ndarray:
        """Return 1 for the predicted class."""
        return np.eye(self.n_classes)[self.classifier.predict(fill_missing(data.numpy())).astype(int)]


def dtw(_train: WindowDataset, _seed: int) -> Reference:
    """Return the nearest neighbour by dynamic time warping."""
    from sktime.classification.distance_based import KNeighborsTimeSeriesClassifier

    return Reference(KNeighborsTimeSeriesClassifier(n_neighbors=1, distance="dtw", distance_params={"window": 0.1}))


def minirocket(_train: WindowDataset, seed: int) -> Reference:
    """Return MiniRocket with 10,000 features and ridge regression."""
    from sktime.classification.kernel_based import RocketClassifier

    return Reference(RocketClassifier(rocket_transform="minirocket", random_state=seed))


MODELS: dict[str, Maker] = {
    "AutoTCL": learned(tscl.AutoTCL, encoder=architecture, temperature=TEMPERATURE, augmenter_lr=AUGMENTER_LR),
    "AutoTCL with TS2Vec": learned(
        tscl.AutoTCL,
        encoder=architecture,
        augmenter=Compose([OverlappingCrops(), ParametricAugmenter(lr=AUGMENTER_LR), LatentMask("binomial")]),
        heads=[HierarchicalHead(view="learned"), GlobalHead(weight=0.5, temperature=TEMPERATURE)],
    ),
    "TS2Vec": learned(tscl.TS2Vec, encoder=architecture),
    "fixed augmentations": learned(
        tscl.AutoTCL,
        encoder=architecture,
        temperature=TEMPERATURE,
        augmenter=Compose([Jitter(0.1), Scaling(0.2), CutOut(0.2)]),
    ),
    "random weights": random_weights,
    "MiniRocket": minirocket,
    "1-NN-DTW": dtw,
}


def sections(X: np.ndarray, length: int) -> np.ndarray:
    """Cut series (n, C, T) into as few sections of equal length as have at most ``length`` steps, padded with NaN."""
    n, channels, times = X.shape
    parts = math.ceil(times / length)
    width = math.ceil(times / parts)
    padded = np.pad(X, ((0, 0), (0, 0), (0, parts * width - times)), constant_values=np.nan)
    cut = padded.reshape(n, channels, parts, width).swapaxes(1, 2).reshape(n * parts, channels, width)
    return cut[~np.isnan(cut).all(axis=(1, 2))]


def measure(root: Path, name: str, model: str, seed: int) -> pd.DataFrame:
    """Train a model on a set, judge it, and return a row a method."""
    study = Archive(name)
    split = study.published_split(study.load(root))
    assert split is not None
    began = time.perf_counter()
    with quiet():
        made = MODELS[model](split.train, seed)
        results = evaluate(
            made if isinstance(made, nn.Module) else lambda _: made, split, name=model, methods=METHODS,
            label_fractions=(1.0,), seeds=(seed,), n_resamples=2,
        )  # fmt: skip
    seconds = time.perf_counter() - began
    table = results.table.query("unit == 'window'").pivot(index="method", columns="metric", values="value")
    _, channels, times = split.train.shape
    what = {
        "set": name, "train": len(split.train), "test": len(split.test), "channels": channels, "times": times,
        "classes": len(split.train.classes), "model": model, "seed": seed,
    }  # fmt: skip
    rows = table[["accuracy"]].round(4).reset_index()
    return rows.assign(seconds=round(seconds, 1), **what)[[*what, "method", "accuracy", "seconds"]]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep advice and warnings of training to themselves."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def find_sets(root: Path) -> dict[str, Path]:
    """Return the folder of every set below ``root``."""
    paths = [path for pattern in ("*.npz", "*_TRAIN.*") for path in root.rglob(pattern)]
    found = {path.stem.removesuffix("_TRAIN"): path.parent for path in sorted(paths) if not path.name.startswith(".")}
    return {name: folder for name, folder in sorted(found.items()) if Archive(name).holds(folder)}


def measured(args: argparse.Namespace, done: pd.DataFrame, folders: dict[str, Path]) -> Iterator[pd.DataFrame]:
    """Yield the rows of every set, model and seed that is not there yet."""
    from joblib import Parallel, delayed

    there = set(done[["set", "model", "seed"]].itertuples(index=False, name=None))
    wanted = [
        (folders[name], name, model, seed)
        for seed in args.seeds
        for name in args.sets or folders
        for model in args.models
        if (name, model, seed) not in there and not (model == "1-NN-DTW" and seed != args.seeds[0])
    ]
    print(f"{len(wanted)} of {len(args.seeds)} x {len(args.sets or folders)} x {len(args.models)} to do", flush=True)
    yield from Parallel(args.n_jobs, return_as="generator_unordered")(delayed(measure)(*one) for one in wanted)


def accuracies(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    """Return accuracy by set and model, the mean over seeds; references have one method only."""
    chosen = rows[rows["method"].isin([method, "direct"])]
    return chosen.pivot_table(index="set", columns="model", values="accuracy", sort=False)


def ranking(scores: pd.DataFrame) -> pd.DataFrame:
    """Return mean rank and number of sets on which each model is (one of) the best."""
    ranks = scores.rank(axis=1, ascending=False)
    return pd.DataFrame({"rank": ranks.mean(), "best": scores.eq(scores.max(axis=1), axis=0).sum()})


def critical_difference(n_models: int, n_sets: int, level: float = 0.05) -> float:
    """Return how far two mean ranks must be apart to differ (Nemenyi's test; Demšar, JMLR 2006)."""
    from scipy.stats import studentized_range

    quantile = studentized_range.ppf(1 - level, n_models, np.inf) / math.sqrt(2)
    return float(quantile * math.sqrt(n_models * (n_models + 1) / (6 * n_sets)))


def summary(rows: pd.DataFrame) -> list[str]:
    """Return the table of models, over the sets that all of them have done."""
    by_method = {method: accuracies(rows, method).dropna() for method in METHODS}
    svm = by_method["svm"]
    ranks = ranking(svm)
    order = svm.mean().sort_values(ascending=False).index
    seconds = rows.drop_duplicates(["set", "model", "seed"]).groupby("model")["seconds"].mean()
    spread = rows[rows["method"].isin(["svm", "direct"]) & rows["set"].isin(svm.index)]
    spread = spread.groupby(["model", "seed"])["accuracy"].mean().groupby("model").std()
    lines = [
        "| model | svm | probe | knn | mean rank | best on | seconds a set |",
        "|---|---|---|---|---|---|---|",
    ]
    for model in order:
        own = (rows["model"] == model) & (rows["method"] == "direct")
        cells = [f"{table[model].mean():.3f}" for table in by_method.values()]
        if not math.isnan(spread[model]):
            cells[0] += f" ± {spread[model]:.3f}"
        cells = [cells[0], "-", "-"] if own.any() else cells
        lines.append(
            f"| {model} | {' | '.join(cells)} | {ranks['rank'][model]:.2f} | {ranks['best'][model]} "
            f"| {seconds[model]:.1f} |"
        )
    if len(order) > 1:
        apart = critical_difference(len(order), len(svm))
        lines += ["", f"Two mean ranks differ (Nemenyi, 5 %) when they are {apart:.2f} apart."]
    return lines


def claims(scores: pd.DataFrame) -> list[str]:
    """Say for every claim whether it holds, with wins and Wilcoxon's signed-rank test over sets."""
    from scipy.stats import wilcoxon

    lines = []
    for first, second, wanted in CLAIMS:
        if first not in scores or second not in scores:
            continue
        gap = (scores[first] - scores[second]).dropna()
        p = wilcoxon(gap).pvalue if gap.any() else 1.0
        lines.append(
            f"- {first} - {second}: {100 * gap.mean():+.1f} points on average (target {100 * wanted:+.1f}: "
            f"{'reached' if gap.mean() >= wanted else 'not reached'}); better on {(gap > 0).sum()}, equal on "
            f"{(gap == 0).sum()}, worse on {(gap < 0).sum()} sets; Wilcoxon p = {p:.2g}."
        )
    return lines


def report(rows: pd.DataFrame) -> str:
    """Return the page."""
    scores = accuracies(rows, "svm")
    complete = scores.dropna()
    header = "| set | " + " | ".join(scores.columns) + " |"
    body = [
        f"| {name} | " + " | ".join("-" if math.isnan(value) else f"{value:.3f}" for value in values) + " |"
        for name, values in zip(scores.index, scores.to_numpy(), strict=True)
    ]
    return "\n".join(
        [
            f"# Classification: {len(complete)} sets of the UCR and UEA archives",
            "",
            f"Accuracy on the archive's test series, seeds {sorted(rows['seed'].unique().tolist())}. Encoders: "
            f"{SIZE['depth']} blocks of {SIZE['hidden']} channels, {SIZE['dim']} dimensions, {STEPS} steps of {BATCH} "
            f"series (sections of at most {SECTION} steps), the same for every set; *svm*: support vector machine, "
            "*probe*: logistic regression, *knn*: nearest neighbour, each on max-pooled embeddings. DTW in a band of "
            "10 %. Mean rank by *svm*; ± over seeds. The temperature of the global contrast and the augmenter's "
            "learning rate were picked with test accuracies of four sets in sight (GunPoint, ECG200, Chinatown, "
            f"FingerMovements). tscl {tscl.__version__}, torch {torch.__version__}, Python "
            f"{platform.python_version()}.",
            "",
            *summary(rows),
            "",
            *(claims(complete) or []),
            "",
            "## By set (svm)",
            "",
            header,
            "|---" * (1 + len(scores.columns)) + "|",
            *body,
            "",
        ]
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", help="names; all below the root by default")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--n-jobs", type=int, default=1, help="trainings at the same time")
    parser.add_argument("--out", type=Path, default=HERE / "docs" / "results", help="folder of the tables")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "classification.csv"
    folders = find_sets(args.root)
    unknown = sorted(set(args.sets or ()) - set(folders))
    if unknown or not folders:
        parser.error(f"{args.root} has no set {', '.join(unknown)}; it has {', '.join(folders) or 'none'}")
    rows = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["set", "model", "seed"])
    for new in measured(args, rows, folders):
        rows = pd.concat([rows, new], ignore_index=True) if len(rows) else new
        with atomic_file(path) as temporary:
            rows.to_csv(temporary, index=False)
        best = new.set_index("method")["accuracy"].to_dict()
        print(f"{new['set'][0]}, {new['model'][0]}, seed {new['seed'][0]}: {best}, {new['seconds'][0]} s", flush=True)
    text = report(rows)
    print(text)
    with atomic_file(args.out / "classification.md") as temporary:
        temporary.write_text(text)


if __name__ == "__main__":
    main()
