"""Train every head and loss for two steps, on one process with joined batches or on two with uneven parts of them.

Usage: python joined.py OUT N_PROCESSES. Writes the losses and the weights of every case, as every process has them.
"""

import sys

import lightning as L
import torch
from torch.utils.data import DataLoader

from tscl import heads, losses
from tscl.augmenters import Augmenter
from tscl.encoders import DilatedConvEncoder
from tscl.learners import ContrastiveLearner, CrossModalLearner
from tscl.types import Batch

PARTS = ([0, 1, 2, 3, 4], [5, 6, 7])
HEADS = {
    "observation": lambda: [heads.ObservationHead("pair")],
    "sample": lambda: [heads.SampleHead("pair")],
    "hierarchical": lambda: [heads.HierarchicalHead("pair")],
    "patient": lambda: [heads.GroupHead("patient", "pair")],
    "global": lambda: [heads.GlobalHead("pair")],
    "local": lambda: [heads.LocalHead("pair", segments=4)],
    "projection": lambda: [heads.ProjectionHead(6, 5, "pair")],
    "comet": lambda: [
        heads.ObservationHead("pair", 0.3),
        heads.SampleHead("pair", 0.3),
        heads.GroupHead("patient", "pair", 0.2),
        heads.GroupHead("trial", "pair", 0.2),
    ],
}
LOSSES = {
    "clip": lambda: losses.ClipLoss(temperature=0.1, symmetric=True),
    "siglip": losses.SigLipLoss,
    "regression": losses.RegressionLoss,
}


class Mirror(Augmenter):
    """The window, and itself backwards: a view that needs no random number."""

    def forward(self, view):
        return view

    def pair(self, first, second):
        return first, second._replace(x=second.x.flip(2) * 0.9)


def batches(rank, world):
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        x = torch.randn(8, 2, 16, generator=generator, dtype=torch.float64)
        speech = torch.randn(8, 3, 16, generator=generator, dtype=torch.float64)
        patient, trial = torch.tensor([0, 0, 1, 1, 2, 0, 1, 2]), torch.tensor([0, 1, 2, 2, 3, 0, 2, 3])
        segment = torch.tensor([0, 1, 2, 3, 4, 1, 5, 0])
        rows = list(range(8)) if world == 1 else PARTS[rank]
        yield Batch(
            x[rows],
            {"patient": patient[rows], "trial": trial[rows], "segment": segment[rows]},
            paired={"speech": speech[rows]},
        )


def learner(name):
    torch.manual_seed(1)
    if name in HEADS:
        encoder = DilatedConvEncoder(2, dim=6, hidden=4, depth=2, dropout=0.0)
        return ContrastiveLearner(encoder, HEADS[name](), {"pair": Mirror()}, lr=1e-2)
    return CrossModalLearner(DilatedConvEncoder(2, dim=3, hidden=4, depth=2, dropout=0.0), LOSSES[name](), lr=1e-2)


def main(out, world):
    said = {}
    for name in [*HEADS, *LOSSES]:
        model = learner(name)
        trainer = L.Trainer(
            max_epochs=1,
            accelerator="cpu",
            devices=world,
            strategy="ddp" if world > 1 else "auto",
            precision="64-true",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        rank = trainer.global_rank
        trainer.fit(model, DataLoader(list(batches(rank, world)), batch_size=None))
        weights = {key: value for key, value in model.state_dict().items() if "mean" not in key and "scores" not in key}
        said[name] = {"loss": trainer.callback_metrics["train/loss"], **weights}
    torch.save(said, f"{out}.{rank}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
