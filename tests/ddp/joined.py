"""Train every head and loss for two steps, on one process with joined batches or on several with uneven parts.

Usage: python joined.py OUT N_PROCESSES. Writes losses, gradients and weights of every case, as every process has them.
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

PARTS = {1: ([*range(8)],), 2: ([0, 1, 2, 3, 4], [5, 6, 7]), 3: ([0, 1, 2], [3, 4, 5, 6], [7])}
"""Rows of the joined batch by number of processes, and by process."""
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
    "clip_free_norm": losses.ClipLoss,
    "siglip": losses.SigLipLoss,
    "regression": losses.RegressionLoss,
}
RUNS = {1: ["gather"], 2: ["gather", "ring"], 3: ["ring"]}
"""How processes see each other's windows, by their number."""
RING = [name for name in (*HEADS, *LOSSES) if name not in ("observation", "local", "regression")]


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
        rows = PARTS[world][rank]
        yield Batch(
            x[rows],
            {"patient": patient[rows], "trial": trial[rows], "segment": segment[rows]},
            paired={"speech": speech[rows]},
        )


class Watch(L.Callback):
    """Keep the loss of every step, as this process has it, and the gradients of the first."""

    def __init__(self):
        self.losses, self.gradients = [], {}

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        for name, parameter in pl_module.named_parameters():
            if parameter.grad is not None:
                self.gradients.setdefault(name, parameter.grad.clone())

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].detach())


def cases(across):
    return RING if across == "ring" else [*HEADS, *LOSSES]


def learner(name, across="gather"):
    torch.manual_seed(1)
    if name in HEADS:
        encoder = DilatedConvEncoder(2, dim=6, hidden=4, depth=2, dropout=0.0)
        return ContrastiveLearner(encoder, HEADS[name](), {"pair": Mirror()}, lr=1e-2, across_processes=across)
    encoder = DilatedConvEncoder(2, dim=3, hidden=4, depth=2, dropout=0.0)
    return CrossModalLearner(encoder, LOSSES[name](), lr=1e-2, across_processes=across)


def main(out, world):
    said = {}
    for across, name in [(one, name) for one in RUNS[world] for name in cases(one)]:
        model, watch = learner(name, across), Watch()
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
            callbacks=[watch],
        )
        rank = trainer.global_rank
        trainer.fit(model, DataLoader(list(batches(rank, world)), batch_size=None))
        weights = {key: value for key, value in model.state_dict().items() if "mean" not in key and "scores" not in key}
        said[f"{across} {name}"] = {
            "mean": trainer.callback_metrics["train/loss"],
            "losses": torch.stack(watch.losses),
            "gradients": watch.gradients,
            "weights": weights,
        }
    torch.save(said, f"{out}.{rank}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
