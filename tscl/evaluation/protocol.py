"""The protocol: probe and fine-tune on few and many labels, against baselines, on patients never seen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
import pandas as pd
from torch import nn

from tscl.data.splits import Split, label_fraction
from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError
from tscl.evaluation.contexts import device_for, private_randomness
from tscl.evaluation.embedding import embed
from tscl.evaluation.metrics import classification_metrics, group_ids, vote, vote_level
from tscl.evaluation.probe import KNNProbe, LinearProbe, SVMProbe
from tscl.evaluation.results import ROW, Predictions, Results

logger = logging.getLogger(__name__)


class Classifier(Protocol):
    """Anything that learns from windows and predicts class probabilities (n, n_classes)."""

    def fit(self, train: WindowDataset, val: WindowDataset | None = None) -> Any:
        """Learn from the labelled windows of ``train``."""

    def predict_proba(self, data: WindowDataset) -> np.ndarray:
        """Return probabilities, shape (n, n_classes)."""


Method: TypeAlias = Literal["probe", "svm", "knn", "finetune"]
METHODS: tuple[Method, ...] = get_args(Method)
Model: TypeAlias = nn.Module | Callable[[int], nn.Module | Classifier]


def evaluate(
    encoder: Model,
    split: Split,
    *,
    name: str = "pretrained",
    methods: Sequence[Method] = ("probe", "finetune"),
    label_fractions: Sequence[float] = (1.0, 0.1, 0.01),
    fraction_by: str = "patient",
    seeds: Sequence[int] = (0, 1, 2),
    baselines: Mapping[str, Model] | None = None,
    pooling: str = "max",
    centre_by: str | None = None,
    class_weight: Literal["balanced"] | None = None,
    probe: Mapping[str, Any] | None = None,
    finetune: Mapping[str, Any] | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
    batch_size: int = 256,
    accelerator: str = "auto",
    progress: bool = False,
) -> Results:
    """Judge an encoder and its baselines on the test patients of a split.

    For every model, seed, method and label fraction a classifier is fitted on the labelled part of ``split.train``,
    ``split.val`` chooses the penalty (probe, svm) or the epoch (fine-tuning), and ``split.test`` is predicted once.
    Results are given for windows and for the coarsest level within which the label is constant (the patient for a
    diagnosis, the recording for a task), whose windows vote with their mean probability.

    Parameters
    ----------
    encoder : nn.Module or callable
        The model; or a function of the seed that returns one, for an encoder pretrained anew for every seed.
    split : Split
        Training, validation (may be None) and test windows with a target.
    name : str
        What ``encoder`` is called in the results.
    methods : sequence of {"probe", "svm", "knn", "finetune"}
        Classifiers on frozen embeddings: logistic regression, the support vector machine of :class:`SVMProbe`, the
        nearest training window by Euclidean distance of standardised embeddings; training of encoder and head together.
    label_fractions : sequence of float
        Shares of the training labels, in (0, 1]. The validation patients keep all of theirs.
    fraction_by : str
        Whether labels are drawn by ``"patient"`` (or another level) or by ``"window"``.
    seeds : sequence of int
        Each seed draws its own label fractions, initial heads and random encoders.
    baselines : mapping of str to model
        More models: an encoder, or a function of the seed that returns an encoder (with random weights it gives a
        probed random encoder and a supervised one from scratch) or anything with ``fit(train, val)`` and
        ``predict_proba(data)`` such as :class:`ClassicalBaseline`, which is taken as it is (method ``"direct"``). It
        runs with torch seeded by that seed; the caller's random state is left alone.
    pooling : str
        How time steps become one embedding.
    centre_by : str, optional
        Subtract the mean embedding of every id of this level (``"patient"``) before the probe. It uses no label,
        but all windows of a test patient: report it as calibration on unlabelled recordings of that patient.
    class_weight : "balanced" or None
        Whether rare classes count more, in all methods but knn.
    probe, finetune : mapping, optional
        Further arguments of :class:`LinearProbe` and :class:`FineTuner`. Fine-tuning takes 50 epochs with all labels
        and 100 with fewer, as COMET does, unless ``max_epochs`` is given.
    n_resamples : int
        Bootstrap resamples of the test patients.
    level : float
        Coverage of the intervals.
    batch_size : int
        Windows a batch while embedding.
    accelerator : str
        ``"auto"``, ``"cpu"``, ``"gpu"``, as in Lightning.
    progress : bool
        Show a progress bar over all fits.

    Returns
    -------
    Results

    Raises
    ------
    LeakageError
        When training or validation and test share a patient, a trial or an overlapping window.
    DataError
        When windows have no labels or the sides have different classes.
    ConfigError
        For an unknown method or two models of the same name.
    """
    from tqdm import tqdm

    from tscl.data.leakage import check_leakage

    unknown = sorted(set(methods) - set(METHODS))
    if unknown:
        raise ConfigError(f"unknown methods {unknown}: choose among {', '.join(METHODS)}.")
    if not (methods and label_fractions and seeds):
        raise ConfigError("nothing to evaluate: give at least one method, one label fraction and one seed.")
    models: dict[str, Model] = {name: encoder}
    for other, model in (baselines or {}).items():
        if other in models:
            raise ConfigError(f"two models are called {other!r}: give each its own name.")
        models[other] = model
    check_leakage(split.train, split.test)
    if split.val is not None:
        check_leakage(split.train, split.val)
        check_leakage(split.val, split.test)
    split = _labelled(split)

    runs = _Runs(
        split,
        tuple(methods),
        tuple(label_fractions),
        fraction_by,
        pooling,
        centre_by,
        class_weight,
        dict(probe or {}),
        dict(finetune or {}),
        batch_size,
        accelerator,
    )
    units = _units(split)
    rows: list[dict[str, Any]] = []
    predictions: Predictions = {}
    with tqdm(desc="evaluating", unit="fit", disable=not progress) as bar:
        for label, model in models.items():
            for seed in seeds:
                for method, fraction, proba in runs.predictions(model, seed):
                    for unit, (y, voted, patients) in units(proba).items():
                        key = (label, method, fraction, unit)
                        predictions.setdefault(key, []).append((y, voted, patients))
                        for metric, value in classification_metrics(y, voted, len(split.test.classes)).items():
                            row = dict(zip(ROW, (*key, metric), strict=True))
                            rows.append({**row, "seed": seed, "value": value})
                    bar.update()
                    bar.set_postfix_str(f"{label}, {method}, {100 * fraction:g} %, seed {seed}")
    table = pd.DataFrame(rows)[["model", "method", "fraction", "seed", "unit", "metric", "value"]]
    return Results.of(table, predictions, n_resamples, level)


@dataclass
class _Runs:
    """Fits of one model after the other, sharing embeddings among methods, fractions and seeds."""

    split: Split
    methods: tuple[str, ...]
    fractions: tuple[float, ...]
    fraction_by: str
    pooling: str
    centre_by: str | None
    class_weight: Literal["balanced"] | None
    probe: dict[str, Any]
    finetune: dict[str, Any]
    batch_size: int
    accelerator: str
    embedded: tuple[nn.Module, dict[str, np.ndarray]] | None = None

    def predictions(self, model: Model, seed: int) -> Iterator[tuple[str, float, np.ndarray]]:
        """Yield method, label fraction and probabilities of the test windows."""
        built: Any = model
        if not isinstance(model, nn.Module):
            with private_randomness(seed):
                built = model(seed)
        methods = self.methods if isinstance(built, nn.Module) else ("direct",)
        for fraction in self.fractions:
            part = self.split.train
            if fraction < 1:
                part = label_fraction(part, fraction, by=self.fraction_by, seed=seed)
            for method in methods:
                if method in ("probe", "svm", "knn"):
                    proba = self._frozen(method, built, part)
                else:
                    classifier = built if method == "direct" else self._finetuner(built, fraction, seed)
                    proba = classifier.fit(part, self.split.val).predict_proba(self.split.test)
                yield method, fraction, proba

    def _frozen(self, method: str, encoder: nn.Module, part: WindowDataset) -> np.ndarray:
        """Fit a classifier on embeddings of the training windows ``part`` and predict the test windows."""
        H = self._embedded(encoder)
        h, y = H["train"][_positions(self.split.train, part)], np.asarray(part.y)
        n_classes = len(self.split.train.classes)
        if method == "knn":
            return KNNProbe(1, metric="euclidean").fit(h, y, n_classes=n_classes).predict_proba(H["test"])
        validation = None if self.split.val is None else (H["val"], np.asarray(self.split.val.y))
        groups = group_ids(part, part.subject_level)
        if method == "svm":
            classifier: LinearProbe | SVMProbe = SVMProbe(class_weight=self.class_weight)
        else:
            classifier = LinearProbe(**{"class_weight": self.class_weight, **self.probe})
        classifier.fit(h, y, n_classes=n_classes, groups=groups, validation=validation)
        return classifier.predict_proba(H["test"])

    def _embedded(self, encoder: nn.Module) -> dict[str, np.ndarray]:
        """Embeddings of every side, kept until another encoder comes."""
        if self.embedded is None or self.embedded[0] is not encoder:
            sides = {"train": self.split.train, "val": self.split.val, "test": self.split.test}
            device = device_for(self.accelerator)
            self.embedded = (
                encoder,
                {
                    side: self._centred(
                        embed(encoder, data, pooling=self.pooling, batch_size=self.batch_size, device=device), data
                    )
                    for side, data in sides.items()
                    if data is not None
                },
            )
        return self.embedded[1]

    def _centred(self, H: np.ndarray, data: WindowDataset) -> np.ndarray:
        if self.centre_by is None:
            return H
        groups = group_ids(data, self.centre_by)
        return H - pd.DataFrame(H).groupby(groups).transform("mean").to_numpy(dtype=H.dtype)

    def _finetuner(self, encoder: nn.Module, fraction: float, seed: int) -> Classifier:
        from tscl.evaluation.finetune import FineTuner

        options = {
            "max_epochs": 50 if fraction == 1 else 100,
            "class_weight": self.class_weight,
            "pooling": self.pooling,
            "accelerator": self.accelerator,
            **self.finetune,
        }
        return FineTuner(encoder, len(self.split.train.classes), seed=seed, **options)


def _positions(whole: WindowDataset, part: WindowDataset) -> np.ndarray:
    """Return where the windows of ``part``, a selection of ``whole``, stand in it."""
    order = np.argsort(whole.rows)
    return order[np.searchsorted(whole.rows, part.rows, sorter=order)]


def _labelled(split: Split) -> Split:
    """Return the split without unlabelled windows, its sides checked for the same classes."""
    sides: dict[str, Any] = {}
    for side in ("train", "val", "test"):
        data: WindowDataset | None = getattr(split, side)
        if data is not None:
            if data.y is None or not (data.y >= 0).any():
                raise DataError(f"no {side} window has a label: the target column is {data.target!r}.")
            if data.classes != split.train.classes:
                raise DataError(
                    f"{side} windows have classes {list(data.classes)}, training windows {list(split.train.classes)}: "
                    "select all sides from one WindowDataset."
                )
            unlabelled = int((data.y < 0).sum())
            if unlabelled:
                logger.info("%d %s windows have no label and are left out", unlabelled, side)
                data = data.select(data.y >= 0)
        sides[side] = data
    return replace(split, **sides)


def _units(split: Split) -> Callable[[np.ndarray], dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]]:
    """Return a function from window probabilities to {unit: (labels, probabilities, patients)} of the test side."""
    test = split.test
    patients = test.metadata[split.by].astype(str).to_numpy()
    voting = vote_level(split.train, test)
    if voting is None:
        logger.info("the label changes within the groups of every level: results are given for windows only")
    elif len(np.unique(group_ids(test, voting))) == len(test):
        voting = None  # a vote of one window is that window

    def units(proba: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        found = {"window": (np.asarray(test.y), proba, patients)}
        if voting is not None:
            groups = group_ids(test, voting)
            voted, order = vote(proba, groups)
            first = np.array([np.flatnonzero(groups == group)[0] for group in order])
            found[voting] = (np.asarray(test.y)[first], voted, patients[first])
        return found

    return units
