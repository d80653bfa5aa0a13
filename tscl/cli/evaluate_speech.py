"""``tscl evaluate`` for a run on speech: which of many stretches was heard."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tscl.cli.fit import CONFIG, build
from tscl.cli.run import RESULTS, append_results
from tscl.data.leakage import name_some
from tscl.data.speech import SpeechSplit, SpeechWindows
from tscl.data.speech.split import split_by_manifest
from tscl.encoders import load_encoder
from tscl.errors import ConfigError, DataNotFoundError, LeakageError
from tscl.evaluation import BackwardModel, RetrievalResults, best_candidates, evaluate_retrieval
from tscl.evaluation.contexts import device_for, evaluating
from tscl.learners.run_folder import read_manifest

log = logging.getLogger("tscl")

THIS = "this run"
LINEAR = "linear backward model"
EXAMPLES = 8
"""So many queries are drawn with their best candidates."""


@dataclass
class SpeechRun:
    """A finished run on speech, opened again.

    Attributes
    ----------
    folder : Path
    manifest : dict
        Which sequences of speech stood on which side of the split, the subjects, the scale of the features.
    windows : SpeechWindows
        Windows at all words, standardised as in training; subjects that the run does not know have the index -1.
    split : SpeechSplit or None
        The run's split; None for another study, or for a part of the run's speech.
    encoder : nn.Module
        The trained encoder, in eval mode, on the CPU.
    """

    folder: Path
    manifest: dict[str, Any]
    windows: SpeechWindows
    split: SpeechSplit | None
    encoder: nn.Module


def open_speech_run(run: Path, root: Path | None = None, speech: Path | None = None) -> SpeechRun:
    """Open the folder that ``tscl fit`` wrote, with its data or with those of another folder.

    Raises
    ------
    DataNotFoundError
        When there is no finished run in the folder, or its recordings are not where they were.
    LeakageError
        When another folder holds speech that the run was trained on or chosen by.
    """
    manifest = read_manifest(run)
    if not (run / CONFIG).exists():
        raise DataNotFoundError(f"{run} holds no run: {CONFIG} is missing.")
    moved = {"root": root, "speech": speech}
    options = [
        word for name, path in moved.items() if path is not None for word in (f"--data.init_args.{name}", str(path))
    ]
    cli = build(["--config", str(run / CONFIG), *options], run=False)
    module = cli.datamodule
    windows = module.load(progress=True)
    windows.subjects = list(manifest["subjects"])
    known = {one for side in ("train", "val", "test") for one in manifest[side]["ids"]}
    split = None
    if set(windows.corpus.words["sequence"]) == known:
        train = module.training_windows()
        if train is not None:
            train.subjects = windows.subjects
        split = split_by_manifest(windows, manifest, train)
    scale = manifest["speech"]
    windows = windows.standardised(np.array(scale["mean"]), np.array(scale["scale"]))
    encoder = load_encoder(run, cli.model.build(module.n_channels, module.n_features, len(manifest["subjects"])))
    return SpeechRun(run, manifest, windows, split, encoder.eval())


def evaluate_speech(
    run: Path,
    root: Path | None = None,
    speech: Path | None = None,
    ks: list[int] | None = None,
    baselines: bool = True,
    accelerator: str = "auto",
    allow_seen: bool = False,
) -> None:
    """Rank, for every test window, the stretch of speech that was heard among all distinct stretches of the test side.

    Args:
        run: Folder of a finished run.
        root: Folder of another study of the same kind; that of the run by default. Subjects that the run does not know
            go through the mean subject layer.
        speech: Folder of the sound files, where it is another one than in training.
        ks: The k of top-k accuracy; 1, 5 and 10 by default.
        baselines: Also judge the linear backward model, a ridge regression from lagged sensors for each subject.
        accelerator: auto, cpu or gpu.
        allow_seen: Judge another study also on speech that the run was trained on.
    """
    opened = open_speech_run(run, root, speech)
    test, seen = _test_side(opened, allow_seen)
    models: dict[str, Any] = {THIS: opened.encoder}
    if baselines and opened.split is not None:
        models[LINEAR] = BackwardModel().fit(opened.split.train, opened.split.val)
    judge(opened.folder, models, test, opened.manifest["subjects"], ks, accelerator, seen)


def _test_side(opened: SpeechRun, allow_seen: bool) -> tuple[SpeechWindows, list[str]]:
    """Return the windows to judge by, and which of their sequences the run was trained or chosen on."""
    if opened.split is not None:
        return opened.split.test, []
    seen = {one for side in ("train", "val") for one in opened.manifest[side]["ids"]}
    sequences = opened.windows.metadata["sequence"]
    shared = sorted(set(sequences) & seen)
    if shared and not allow_seen:
        raise LeakageError(
            f"the run was trained on {len(shared)} of these {sequences.nunique()} sequences of speech: "
            f"{name_some(shared)}. Evaluate on other speech, or allow seen speech with --allow_seen true and say so "
            "with the result."
        )
    return opened.windows, shared


def judge(
    folder: Path,
    models: dict[str, Any],
    test: SpeechWindows,
    subjects: list[str],
    ks: list[int] | None = None,
    accelerator: str = "auto",
    seen: Sequence[str] = (),
) -> RetrievalResults:
    """Evaluate models on the test windows, write tables and figures into the run's folder, and print the table.

    ``seen`` are the sequences of the test windows that were heard in training, which the results then say.
    """
    listed = list(dict.fromkeys([*subjects, *test.metadata["patient"].unique()]))
    tested = set(test.metadata["patient"])
    if not tested & set(subjects):
        listed = sorted(tested)
    n_candidates = test.metadata["segment"].nunique()
    wanted = tuple(ks or (1, 5, 10))
    if ks is None and n_candidates <= max(wanted):
        wanted = tuple(k for k in wanted if k < n_candidates)
        if not wanted:
            raise ConfigError(
                f"there are {n_candidates} distinct test segments: give more sound, or hold out more of it."
            )
        log.warning(
            "there are only %d distinct test segments: top-k accuracy stops at k = %d.", n_candidates, wanted[-1]
        )
    device = device_for(accelerator)
    results = evaluate_retrieval(models, test, ks=wanted, subjects=listed, device=device, progress=True)
    out = folder / RESULTS
    results.to_csv(out / "queries.csv")
    _draw(results, models, test, out, device)
    heard = "Tested on speech that was never heard in training."
    if seen:
        n_sequences = test.metadata["sequence"].nunique()
        heard = f"Heard in training: {len(seen)} of {n_sequences} sequences of the test speech, {name_some(seen)}."
    statement = f"{heard} {results.statement()}"
    append_results(folder, statement, f"{results.to_markdown(statement=False)}\n\n{results.subjects_markdown()}")
    return results


def _draw(
    results: RetrievalResults, models: dict[str, Any], test: SpeechWindows, out: Path, device: torch.device
) -> None:
    from tscl.plotting import accuracy_by_subject, attention_map, rank_histogram, retrieval_examples, save_figure

    encoder = next(iter(models.values()))
    ranks = results.table.loc[results.table["model"] == next(iter(models)), "rank"].to_numpy()
    save_figure(rank_histogram(ranks, results.n_candidates), out / "ranks.png")
    # From the best to the worst of the queries, in equal steps.
    shown = np.argsort(ranks, kind="stable")[
        np.linspace(0, len(ranks) - 1, min(EXAMPLES, len(ranks))).round().astype(int)
    ]
    best = best_candidates(encoder, test, shown, k=min(5, results.n_candidates), device=device)
    save_figure(retrieval_examples(best), out / "examples.png")
    axes = accuracy_by_subject(results.by_subject(), f"top{max(results.ks)}")
    save_figure(axes, out / "subjects.png")
    attention = getattr(encoder, "attention", None)
    if attention is None:
        return
    drawn: list[np.ndarray] = []
    patients = test.metadata["patient"].drop_duplicates()
    for subject, row in zip(patients, patients.index, strict=True):
        positions = test[[row]].sensors.positions
        known = positions[0].isfinite().all(dim=1).numpy()
        if any(np.array_equal(positions.numpy(), one, equal_nan=True) for one in drawn) or known.sum() < 3:
            continue
        drawn.append(positions.numpy())
        with evaluating(attention), torch.inference_mode():
            weights = attention.weights(positions)[0].mean(dim=0).cpu().numpy()
        save_figure(attention_map(weights[known], positions[0].numpy()[known]), out / f"attention_{subject}.png")
