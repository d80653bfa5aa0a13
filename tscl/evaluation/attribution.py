"""Which sensors and which moments made two windows, or two recordings, similar."""

from __future__ import annotations

import logging
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError
from tscl.evaluation.contexts import device_of, evaluating
from tscl.evaluation.embedding import embed, encode, kept_steps
from tscl.functional.pooling import parse_pooling, pool_time
from tscl.types import Batch, Sensors

log = logging.getLogger("tscl")

METHODS = ("integrated_gradients", "occlusion")
UNEXPLAINED = 0.05
"""A residual beyond this is warned of."""


class SimilarityAttribution(NamedTuple):
    """What every sensor and moment of two windows contributes to their similarity.

    Attributes
    ----------
    first, second : ndarray, shape (n, C, T), float32
        Contributions of the first windows, the second being held fixed, and the other way round: positive where the
        signal makes the two alike. 0 where a value is missing.
    similarity : ndarray, shape (n,), float32
        Cosine similarity of the two embeddings.
    residual : ndarray, shape (n, 2), float32
        How far the sum of each map is from the change of the similarity between the baseline and the window; NaN for
        occlusion, whose maps have no such sum.
    """

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray
    residual: np.ndarray


def attribute_similarity(
    encoder: nn.Module,
    X1: np.ndarray | Tensor | WindowDataset,
    X2: np.ndarray | Tensor | WindowDataset,
    *,
    method: Literal["integrated_gradients", "occlusion"] = "integrated_gradients",
    pooling: str = "max",
    baseline: float | np.ndarray = 0.0,
    centre: np.ndarray | None = None,
    steps: int = 32,
    window: int | None = None,
    stride: int | None = None,
    batch_size: int = 64,
    device: torch.device | str | None = None,
) -> SimilarityAttribution:
    """Tell how much each sensor and moment contributes to the cosine similarity of pairs of windows.

    Each window is explained given the other one, which stays as it is, so a pair gets two maps. Integrated gradients
    (Sundararajan et al., ICML 2017) go from the baseline to the window in a straight line, and a map sums to the
    similarity of the windows less that of the baseline and the other window. Occlusion (Zeiler and Fergus, ECCV 2014)
    replaces a stretch of one channel by the baseline and takes by how much the similarity falls, averaged over the
    stretches that cover a moment.

    Parameters
    ----------
    encoder : nn.Module
        ``encoder(x (B, C, T)) -> (B, D, T')``, such as ``estimator.encoder_``. It is left as it was.
    X1, X2 : ndarray, Tensor or WindowDataset, shape (n, C, T)
        The windows of each pair, in the same order; NaN marks missing values, which stay missing. The lengths of the
        two may differ.
    method : {"integrated_gradients", "occlusion"}
        The first is exact up to ``residual`` and quick; the second needs no gradient.
    pooling : str
        How embeddings are pooled over time, see :func:`tscl.functional.pool_time`.
    baseline : float or ndarray that broadcasts to (C, T)
        What stands for "no signal", in the unit of the windows: 0 is the mean of standardised channels.
    centre : ndarray, shape (k * D,), optional
        Subtracted from all embeddings, such as the mean embedding of a data set. Without it the similarity contains
        what every window shares, and the maps of any two windows look alike.
    steps : int
        Steps of the integral; more make the residual smaller.
    window, stride : int, optional
        Length of an occluded stretch, and the distance of two, in time steps; a twentieth of the window, and half of
        that, by default.
    batch_size : int
        Windows that the encoder sees at a time.
    device : torch.device or str, optional
        Where to compute; the encoder's own device by default.

    Returns
    -------
    SimilarityAttribution

    Raises
    ------
    DataError
        When the windows do not pair, or the embedding of one is zero.
    ConfigError
        When an argument is not usable, or the embedding of the baseline is zero, where the cosine has no gradient.

    Examples
    --------
    >>> import torch
    >>> from tscl.encoders import DilatedConvEncoder
    >>> from tscl.evaluation import attribute_similarity
    >>> encoder, x = DilatedConvEncoder(2, dim=8, hidden=4, depth=2), torch.randn(2, 1, 2, 40)
    >>> attribute_similarity(encoder, x[0], x[1]).first.shape
    (1, 2, 40)
    """
    _check(method, steps, batch_size, pooling)
    X1, X2 = _as_windows(X1), _as_windows(X2)
    if len(X1) != len(X2) or X1.shape[1] != X2.shape[1]:
        raise DataError(
            f"windows of shapes {tuple(X1.shape)} and {tuple(X2.shape)} do not pair: give as many second windows as "
            "first ones, of the same channels."
        )
    own = device_of(encoder)
    device = own if device is None else torch.device(device)
    parts = []
    with evaluating(encoder):
        encoder.to(device)
        try:
            for start in range(0, len(X1), batch_size):
                rows = slice(start, start + batch_size)
                batches = [_batch(X, rows).to(device) for X in (X1, X2)]
                explain = _Explainer(encoder, pooling, baseline, centre, device)
                h1, h2 = (explain.embeddings(batch, start) for batch in batches)
                pairs = [(batches[0], h2), (batches[1], h1)]
                if method == "occlusion":
                    found = [explain.occlude(*pair, window, stride, batch_size) for pair in pairs]
                else:
                    found = [explain.integrate(*pair, steps, batch_size) for pair in pairs]
                residual = torch.stack([one[1] for one in found], dim=1)
                similarity = F.cosine_similarity(h1, h2)
                parts.append([one.cpu().numpy() for one in (found[0][0], found[1][0], similarity, residual)])
        finally:
            encoder.to(own)
    result = SimilarityAttribution(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    missed = np.abs(result.residual).max(axis=1)
    if (missed > UNEXPLAINED).any():
        log.warning(
            "the maps of pair %d leave %.2f of its similarity unexplained: raise steps (now %d), or choose a baseline "
            "nearer to the windows.",
            int(missed.argmax()),
            float(missed.max()),
            steps,
        )
    return result


def attribute_recordings(
    encoder: nn.Module,
    X1: np.ndarray | Tensor | WindowDataset,
    X2: np.ndarray | Tensor | WindowDataset,
    *,
    n_pairs: int = 1,
    **options: Any,
) -> tuple[np.ndarray, SimilarityAttribution]:
    """Find the windows in which two recordings are most alike, and tell what makes them so.

    Parameters
    ----------
    encoder : nn.Module
        See :func:`attribute_similarity`.
    X1, X2 : ndarray, Tensor or WindowDataset, shapes (n1, C, T) and (n2, C, T)
        All windows of each recording.
    n_pairs : int
        How many pairs to explain, from the most similar one down; a window is in one pair at most.
    **options
        Of :func:`attribute_similarity`.

    Returns
    -------
    pairs : ndarray, shape (n_pairs, 2), int64
        Position of each pair's windows in ``X1`` and ``X2``.
    attribution : SimilarityAttribution
        Of these pairs, in the same order.

    Raises
    ------
    DataError, ConfigError
        See :func:`attribute_similarity`; also when a recording has fewer windows than ``n_pairs``.
    """
    X1, X2 = _as_windows(X1), _as_windows(X2)
    if not 1 <= n_pairs <= min(len(X1), len(X2)):
        raise ConfigError(
            f"n_pairs is {n_pairs}: the recordings have {len(X1)} and {len(X2)} windows, and each is in one pair only."
        )
    shared = {name: options[name] for name in ("pooling", "batch_size", "device") if name in options}
    centre = 0.0 if options.get("centre") is None else options["centre"]
    units = [F.normalize(torch.from_numpy(embed(encoder, X, **shared) - centre), dim=1) for X in (X1, X2)]
    similarity = (units[0] @ units[1].T).numpy()
    pairs = np.empty((n_pairs, 2), dtype=np.int64)
    for pair in pairs:
        pair[:] = np.unravel_index(similarity.argmax(), similarity.shape)
        similarity[pair[0], :] = similarity[:, pair[1]] = -np.inf
    chosen = [_select(X, index) for X, index in zip((X1, X2), pairs.T, strict=True)]
    return pairs, attribute_similarity(encoder, *chosen, **options)


class _Explainer:
    """The similarity of windows with fixed embeddings, as a function of tensors, and its two explanations."""

    def __init__(
        self,
        encoder: nn.Module,
        pooling: str,
        baseline: float | np.ndarray,
        centre: np.ndarray | None,
        device: torch.device,
    ) -> None:
        self.encoder, self.pooling = encoder, pooling
        self.baseline = torch.as_tensor(baseline, dtype=torch.float32, device=device)
        self.centre = None if centre is None else torch.as_tensor(centre, dtype=torch.float32, device=device)

    def pooled(self, x: Tensor, sensors: Sensors | None) -> Tensor:
        z = encode(self.encoder, Batch(x, sensors=sensors))
        h = pool_time(z, self.pooling, kept_steps(x, z.shape[2])).float()
        if self.centre is not None and self.centre.shape != h.shape[1:]:
            raise ConfigError(f"centre has shape {tuple(self.centre.shape)}, the embeddings have {h.shape[1]} values.")
        return h if self.centre is None else h - self.centre

    @torch.no_grad()
    def embeddings(self, batch: Batch, first: int) -> Tensor:
        """Embed the windows, whose numbers begin at ``first``, (n, k * D)."""
        h = self.pooled(batch.x, batch.sensors)
        bad = ~(h.isfinite().all(dim=1) & (h != 0).any(dim=1))
        if bad.any():
            raise DataError(
                f"the embedding of window {first + int(bad.int().argmax())} is zero or not finite: it has no cosine "
                "similarity with another; leave that pair out."
            )
        return h

    def similarity(self, x: Tensor, missing: Tensor, other: Tensor, *sensors: Tensor) -> Tensor:
        """Return the cosine similarity (n,) of windows, with their missing values put back, and embeddings."""
        h = self.pooled(x.masked_fill(missing, torch.nan), Sensors(*sensors) if sensors else None)
        return F.cosine_similarity(h, other)

    def _start(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
        missing = batch.x.isnan()
        try:
            baseline = self.baseline.expand(batch.x.shape[1:])[None]
        except RuntimeError as error:
            raise ConfigError(
                f"baseline has shape {tuple(self.baseline.shape)}, windows {tuple(batch.x.shape[1:])}: give (C, 1)."
            ) from error
        return batch.x.masked_fill(missing, 0.0), missing, baseline, () if batch.sensors is None else batch.sensors

    def integrate(self, batch: Batch, other: Tensor, steps: int, batch_size: int) -> tuple[Tensor, Tensor]:
        """Return the map (n, C, T) and its residual (n,)."""
        from captum.attr import IntegratedGradients

        x, missing, baseline, sensors = self._start(batch)
        absent = baseline.expand_as(x).masked_fill(missing, torch.nan)
        with torch.no_grad():
            if (self.pooled(absent, batch.sensors) == 0).all(dim=1).any():
                raise ConfigError(
                    "the embedding of the baseline is zero, and the cosine similarity jumps there: give another "
                    "baseline or centre, or use method='occlusion'."
                )
        with torch.enable_grad():
            found = IntegratedGradients(self.similarity).attribute(
                x,
                baselines=baseline,
                additional_forward_args=(missing, other, *sensors),
                n_steps=steps,
                internal_batch_size=max(batch_size, len(x)),
            )
        with torch.no_grad():
            change = self.similarity(x, missing, other, *sensors) - self.similarity(absent, missing, other, *sensors)
        found = found.detach().float().masked_fill(missing, 0.0)
        return found, found.sum(dim=(1, 2)) - change

    def occlude(
        self, batch: Batch, other: Tensor, window: int | None, stride: int | None, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        """Return the map (n, C, T), and NaN for its residual (n,)."""
        from captum.attr import Occlusion

        x, missing, baseline, sensors = self._start(batch)
        n_times = x.shape[2]
        window = max(1, n_times // 20) if window is None else window
        stride = max(1, window // 2) if stride is None else stride
        if not 1 <= stride <= window <= n_times:
            raise ConfigError(
                f"window is {window} and stride {stride} for {n_times} time steps: 1 <= stride <= window <= time steps "
                "must hold."
            )
        found = Occlusion(self.similarity).attribute(
            x,
            sliding_window_shapes=(1, window),
            strides=(1, stride),
            baselines=baseline,
            additional_forward_args=(missing, other, *sensors),
            perturbations_per_eval=max(1, batch_size // len(x)),
        )
        return found.float().masked_fill(missing, 0.0), x.new_full((len(x),), torch.nan)


def _check(method: str, steps: int, batch_size: int, pooling: str) -> None:
    if method not in METHODS:
        raise ConfigError(f"method is {method!r}: choose one of {', '.join(METHODS)}.")
    if steps < 1 or batch_size < 1:
        raise ConfigError(f"steps is {steps} and batch_size {batch_size}: both must be 1 at least.")
    try:
        parse_pooling(pooling)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _as_windows(X: np.ndarray | Tensor | WindowDataset) -> Tensor | WindowDataset:
    X = X if isinstance(X, WindowDataset) else torch.as_tensor(X)
    if len(X.shape) != 3 or not len(X):
        raise DataError(f"windows have shape {tuple(X.shape)}, expected (windows, channels, times), one at least.")
    return X


def _batch(X: Tensor | WindowDataset, rows: slice) -> Batch:
    part: Any = X[rows]
    return part if isinstance(part, Batch) else Batch(part.float())


def _select(X: Tensor | WindowDataset, index: np.ndarray) -> Tensor | WindowDataset:
    return X.select(index) if isinstance(X, WindowDataset) else X[torch.from_numpy(index)]
