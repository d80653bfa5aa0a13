"""Draw the figures of README and documentation, on simulated data: ``python docs/make_figures.py``."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import tscl
from tscl.data.datasets import SimulatedEEG, SimulatedSpeech
from tscl.data.speech import LogMel, SpeechDataModule
from tscl.evaluation import BackwardModel, attribute_recordings, best_candidates, evaluate_retrieval
from tscl.plotting import (
    attribution_over_signal,
    attribution_topomap,
    embedding_map,
    hierarchy,
    retrieval_examples,
    score_distributions,
    similarity_matrix,
    training_curves,
)

FIGURES = Path(__file__).parent / "figures"
MONTAGE = ("Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "C3", "Cz", "C4", "P7", "P3", "Pz", "P4", "P8", "O1", "O2")


def save(ax: Any, name: str, dpi: int = 110) -> None:
    ax.figure.savefig(
        FIGURES / f"{name}.png", dpi=dpi, facecolor="white", metadata={"Software": None}, pil_kwargs={"optimize": True}
    )
    plt.close(ax.figure)


def training(model: Any) -> None:
    _, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    training_curves(model.history_, ["train/loss", "train/trial", "train/patient"], ax=axes[0])
    save(score_distributions(model.history_, "window", ax=axes[1]), "plotting_training", 80)


def embeddings(model: Any, data: Any) -> None:
    found, table = model.transform(data), data.metadata
    _, axes = plt.subplots(1, 3, figsize=(16, 4.5), layout="constrained")
    embedding_map(found, table["patient"].to_numpy(), axes[0], title="patient")
    embedding_map(found, table["disease"].to_numpy(), axes[1], title="disease")
    similarity_matrix(found, table["patient"].to_numpy(), axes[2], within=table["trial"].to_numpy())
    save(axes[2], "plotting_embeddings", 60)


def attribution(model: Any, data: Any) -> None:
    """Two recordings of noise that share a burst over the left of the occiput, at different times."""
    rng = np.random.default_rng(0)
    first, second = 0.3 * rng.normal(size=(2, 12, len(MONTAGE), 150)).astype("float32")
    burst = 4 * np.sin(2 * np.pi * np.arange(30) / 10) * np.hanning(30)
    where = [MONTAGE.index(name) for name in ("P7", "P3", "O1")]
    first[4, where, 30:60] += burst
    second[7, where, 90:120] += burst
    centre = model.transform(np.concatenate([first, second])).mean(axis=0)
    pairs, found = attribute_recordings(model.encoder_, first, second, centre=centre, pooling=model.pooling)
    assert pairs.tolist() == [[4, 7]]
    _, axes = plt.subplots(1, 2, figsize=(13, 5), layout="constrained", width_ratios=[2, 1])
    seconds = np.arange(150) / data.channels.sfreq
    attribution_over_signal(first[pairs[0, 0]], found.first[0], seconds, MONTAGE, ax=axes[0])
    attribution_topomap(found.first[0].sum(axis=1), data.channels, MONTAGE, ax=axes[1])
    save(axes[1], "plotting_attribution", 70)


def examples() -> None:
    """What the linear model takes eight windows for, from the best ranked to the worst."""
    module = SpeechDataModule(
        SimulatedSpeech(n_subjects=2, snr=-10, minutes=4), LogMel(n_bands=16), seconds=2, block_seconds=10
    )
    module.setup()
    test = module.split.test
    model = BackwardModel().fit(module.split.train, module.split.val)
    ranks = evaluate_retrieval({"linear": model}, test).table["rank"].to_numpy()
    rows = np.argsort(ranks, kind="stable")[np.linspace(0, len(ranks) - 1, 8).round().astype(int)]
    save(retrieval_examples(best_candidates(model, test, rows)), "plotting_examples", 75)


def main() -> None:
    FIGURES.mkdir(exist_ok=True)
    save(hierarchy(), "hierarchy")
    data = SimulatedEEG(n_patients=8, n_trials=6, ch_names=MONTAGE).load()
    model = tscl.COMET(dim=32, hidden=16, depth=4, max_epochs=12, batch_size=64, lr=1e-3, random_state=0).fit(data)
    training(model)
    embeddings(model, data)
    attribution(model, data)
    examples()


if __name__ == "__main__":
    main()
