"""The classical linear baseline: speech features from lagged sensors, a ridge regression a subject."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tscl.data.windows import WindowDataset
from tscl.errors import ConfigError, DataError
from tscl.types import Batch

log = logging.getLogger(__name__)

ALPHAS = tuple(np.logspace(-2, 10, 13).tolist())


class BackwardModel:
    """Predict all speech features at every time step from the sensors around it, by a ridge regression a subject.

    The "backward model" of Crosse et al. (Frontiers in Human Neuroscience 2016) with the identity as regularisation.
    Sensors are standardised with their training mean and standard deviation; those that are always missing or constant
    are left out for the subject, and a single missing value counts as the mean. The normal equations are summed in
    batches in float64, and one eigendecomposition of them serves all penalties.

    The penalty of a subject is the one with the highest cosine between predicted and true features of its validation
    windows, pooled over features and steps: the candidates are ranked by this very product. Without validation windows
    of a subject the last fifth of its training windows takes their place, and the weights are then fitted on all.

    Parameters
    ----------
    lags : tuple of float
        First and last lag of the brain behind the speech, s, on the window's own time axis (where windows were cut with
        the brain delayed by 150 ms, -0.1 is 50 ms after the sound).
    step : float
        Between lags, s; rounded to whole samples.
    alphas : sequence of float
        Penalties to choose from, added to the diagonal of the summed normal equations of the standardised sensors.
    every : int
        Fit on every so many-th time step: neighbours at 120 Hz say nearly the same.
    batch_size : int
        Windows at a time.
    device : torch.device or str
        Where the equations are summed and solved; it needs float64.

    Attributes
    ----------
    subjects_ : dict of int to str
        The subjects that were fitted, by their index.
    alphas_ : dict of int to float
        The penalty of each.
    cosines_ : dict of int to dict of float to float
        By penalty: the cosine that it was chosen by.

    Raises
    ------
    ConfigError
        When the lags or penalties cannot work.

    Examples
    --------
    >>> model = BackwardModel().fit(train, val)  # doctest: +SKIP
    >>> evaluate_retrieval({"linear": model}, test)  # doctest: +SKIP
    """

    def __init__(
        self,
        lags: tuple[float, float] = (-0.1, 0.4),
        step: float = 0.025,
        alphas: Sequence[float] = ALPHAS,
        every: int = 3,
        batch_size: int = 32,
        device: torch.device | str = "cpu",
    ) -> None:
        if not lags[0] <= lags[1] or step <= 0:
            raise ConfigError(f"lags {tuple(lags)} in steps of {step} s: give (first, last) and a positive step.")
        if not len(alphas) or min(alphas) <= 0:
            raise ConfigError(f"the penalties are {list(alphas)}: give positive numbers.")
        if every < 1 or batch_size < 1:
            raise ConfigError(f"every is {every} and batch_size {batch_size}: both must be 1 or more.")
        self.lags, self.step = (float(lags[0]), float(lags[1])), step
        self.alphas, self.every, self.batch_size = tuple(map(float, alphas)), every, batch_size
        self.device = torch.device(device)

    def __repr__(self) -> str:
        return f"BackwardModel(lags={self.lags}, step={self.step}, {len(self.alphas)} penalties, every={self.every})"

    def fit(self, train: WindowDataset, val: WindowDataset | None = None) -> BackwardModel:
        """Fit the weights of every subject of the training windows.

        Of windows of a recording that overlap by more than half, the later ones are left out (where the metadata have
        the columns ``recording`` and ``onset``).

        Parameters
        ----------
        train, val : WindowDataset
            Windows whose batches have ``sensors.subject`` and ``paired["speech"]``, see
            :class:`tscl.data.speech.SpeechWindows`.

        Returns
        -------
        BackwardModel

        Raises
        ------
        ConfigError
            When windows are shorter than the span of the lags, or a subject has no index.
        DataError
            When a subject has too few windows or no sensor, or speech features are missing or not finite.
        """
        sfreq = train.channels.sfreq
        first, last = (round(lag * sfreq) for lag in self.lags)
        self._shifts = range(first, last + 1, max(1, round(self.step * sfreq)))
        span = max(0, self._shifts[-1]) - min(0, first)
        if span >= train.shape[2]:
            raise ConfigError(
                f"the lags {self.lags} s span {span} steps, a window has {train.shape[2]}: use longer windows or fewer "
                "lags."
            )
        self.subjects_: dict[int, str] = {}
        self.alphas_: dict[int, float] = {}
        self.cosines_: dict[int, dict[float, float]] = {}
        self._weights: dict[int, _Weights] = {}
        for patient in train.metadata["patient"].unique():
            mine = _thinned(train, patient)
            chosen = _thinned(val, patient) if val is not None else mine[:0]
            number = _subject(train, mine)
            if number < 0:
                raise ConfigError(
                    f"subject {patient} of the training windows has no index: name it among their subjects."
                )
            self.subjects_[number] = str(patient)
            self._fit_subject(number, train, mine, val, chosen)
        return self

    def _fit_subject(
        self, number: int, train: WindowDataset, mine: np.ndarray, val: WindowDataset | None, chosen: np.ndarray
    ) -> None:
        name = self.subjects_[number]
        scaling = _Scaling.of(train, mine, name, self.batch_size)
        held: _Sums | None = None
        if val is not None and len(chosen):
            held, cut = self._sums(val, chosen, scaling), len(mine)
        else:
            cut = min(len(mine) - 1, round(0.8 * len(mine)))
            if cut < 1:
                raise DataError(
                    f"subject {name} has one training window and none for validation: give it more windows."
                )
        fitted = self._sums(train, mine[:cut], scaling)
        solved = _Solved(fitted)
        if held is None:
            held = self._sums(train, mine[cut:], scaling)
            self.cosines_[number] = solved.cosines(held, self.alphas)
            solved = _Solved(fitted + held)
        else:
            self.cosines_[number] = solved.cosines(held, self.alphas)
        cosines = self.cosines_[number]
        self.alphas_[number] = alpha = max(cosines, key=cosines.__getitem__)
        if alpha == max(self.alphas) and len(self.alphas) > 1:
            log.warning("subject %s: the largest penalty, %g, was chosen: a larger one may do better", name, alpha)
        coefficients, intercept = solved.weights(alpha)
        shape = (-1, len(scaling.kept), len(self._shifts))
        self._weights[number] = _Weights(scaling, coefficients.T.reshape(shape).float().cpu(), intercept.float().cpu())

    def _sums(self, windows: WindowDataset, rows: np.ndarray, scaling: _Scaling) -> _Sums:
        first, last = min(0, self._shifts[0]), max(0, self._shifts[-1])
        total: _Sums | None = None
        for start in range(0, len(rows), self.batch_size):
            batch = windows[rows[start : start + self.batch_size]]
            x = scaling(batch.x.to(self.device).double())
            y = _speech(batch).to(self.device).double()
            at = torch.arange(-first, x.shape[2] - last, self.every, device=self.device)
            lagged = torch.stack([x[:, :, at + shift] for shift in self._shifts], dim=2)
            flat = lagged.permute(0, 3, 1, 2).flatten(0, 1).flatten(1)
            part = _Sums.of(flat, y[:, :, at].transpose(1, 2).flatten(0, 1))
            total = part if total is None else total + part
        assert total is not None
        return total

    def predict(self, batch: Batch) -> Tensor:
        """Predict the speech features of windows.

        Parameters
        ----------
        batch : Batch
            With ``sensors.subject``. Beyond the ends of a window sensors count as their mean.

        Returns
        -------
        Tensor, shape (B, F, T), float32
            On the device of ``batch.x``.

        Raises
        ------
        ConfigError
            When the model was not fitted, or not for a subject of the batch.
        """
        if not hasattr(self, "_weights"):
            raise ConfigError("the BackwardModel is not fitted: call fit(train, val) first.")
        if batch.sensors is None:
            raise ConfigError("the batch does not say whose windows it holds: use SpeechWindows.")
        first, last = self._shifts[0], self._shifts[-1]
        before, after = max(0, -first), max(0, last)
        result: Tensor | None = None
        for number in batch.sensors.subject.unique().tolist():
            if number not in self._weights:
                raise ConfigError(
                    f"the BackwardModel has no weights for the subject with index {number}: it decodes only the "
                    f"{len(self._weights)} subjects it was fitted on, evaluate windows of these."
                )
            own = self._weights[number]
            rows = batch.sensors.subject == number
            x = F.pad(own.scaling(batch.x[rows].float()), (before, after))
            x = x[:, :, before + first : x.shape[2] - after + last]
            z = F.conv1d(x, own.coefficients.to(x), own.intercept.to(x), dilation=self._shifts.step)
            result = z.new_empty(len(batch), *z.shape[1:]) if result is None else result
            result[rows] = z
        assert result is not None
        return result


@dataclass
class _Scaling:
    """Standardises the kept sensors of windows (B, C, T); missing values become 0."""

    kept: Tensor
    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, windows: WindowDataset, rows: np.ndarray, name: str, batch_size: int) -> _Scaling:
        count, total, squared = np.zeros((3, windows.shape[1]))
        for start in range(0, len(rows), batch_size):
            x = np.asarray(windows.signals[windows.rows[rows[start : start + batch_size]]], dtype=np.float64)
            count += np.isfinite(x).sum(axis=(0, 2))
            total += np.nansum(x, axis=(0, 2))
            squared += np.nansum(x**2, axis=(0, 2))
        mean = total / np.maximum(count, 1)
        scale = np.sqrt(np.maximum(squared / np.maximum(count, 1) - mean**2, 0))
        kept = np.flatnonzero(scale > 1e-7 * (1 + np.abs(mean)))
        if not len(kept):
            raise DataError(f"subject {name} has no sensor that varies: check its recordings.")
        arrays = (kept, mean[kept, None], scale[kept, None])
        return cls(*(torch.from_numpy(array) for array in arrays))

    def __call__(self, x: Tensor) -> Tensor:
        return ((x[:, self.kept.to(x.device)] - self.mean.to(x)) / self.scale.to(x)).nan_to_num(0.0)


@dataclass
class _Weights:
    """What predicts for a subject: coefficients (F, kept sensors, lags) and intercept (F,), float32."""

    scaling: _Scaling
    coefficients: Tensor
    intercept: Tensor


@dataclass
class _Sums:
    """Sums over rows of features x (p) and targets y (q), float64."""

    n: int
    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor
    yy: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> _Sums:
        return cls(len(x), x.sum(dim=0), y.sum(dim=0), x.T @ x, x.T @ y, y.square().sum(dim=0))

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(*(mine + yours for mine, yours in zip(vars(self).values(), vars(other).values(), strict=True)))

    def about(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sums of products of deviations from ``x`` (p) and ``y`` (q): xx (p, p), xy (p, q), yy summed over targets."""
        xx = self.xx - torch.outer(self.x, x) - torch.outer(x, self.x) + self.n * torch.outer(x, x)
        xy = self.xy - torch.outer(self.x, y) - torch.outer(x, self.y) + self.n * torch.outer(x, y)
        return xx, xy, (self.yy - 2 * self.y * y + self.n * y.square()).sum()


class _Solved:
    """The ridge regressions of one set of sums for any penalty."""

    def __init__(self, sums: _Sums) -> None:
        self.x, self.y = sums.x / sums.n, sums.y / sums.n
        xx, xy, _ = sums.about(self.x, self.y)
        spectrum, self._basis = torch.linalg.eigh(xx)
        self._spectrum = spectrum.clamp_min(0)
        self._projected = self._basis.T @ xy

    def weights(self, alpha: float) -> tuple[Tensor, Tensor]:
        """Return coefficients (p, q) and intercept (q)."""
        coefficients = self._basis @ (self._projected / (self._spectrum + alpha)[:, None])
        return coefficients, self.y - self.x @ coefficients

    def cosines(self, held: _Sums, alphas: Sequence[float]) -> dict[float, float]:
        """Pooled cosine of predicted and true deviations from the training mean, by penalty."""
        xx, xy, yy = held.about(self.x, self.y)
        xx, xy = self._basis.T @ xx @ self._basis, self._basis.T @ xy
        found = {}
        for alpha in alphas:
            rotated = self._projected / (self._spectrum + alpha)[:, None]
            length = (rotated * (xx @ rotated)).sum().clamp_min(0).sqrt() * yy.sqrt()
            found[alpha] = float((rotated * xy).sum() / length) if length > 0 else 0.0
        return found


def _thinned(windows: WindowDataset, patient: object) -> np.ndarray:
    """Positions of a patient's windows without those that overlap an earlier one of the recording by more than half."""
    table = windows.metadata
    table = table[table["patient"] == patient]
    if not {"recording", "onset"} <= set(table.columns):
        return table.index.to_numpy()
    kept: list[int] = []
    for _, part in table.groupby("recording", sort=False):
        end = -np.inf
        for position, onset in part["onset"].sort_values(kind="stable").items():
            if onset >= end - 1e-6:
                kept.append(int(str(position)))
                end = onset + windows.duration / 2
    return np.array(kept, dtype=np.int64)


def _subject(windows: WindowDataset, rows: np.ndarray) -> int:
    sensors = windows[rows[:1]].sensors
    if sensors is None:
        raise DataError("the windows do not say whose they are: use SpeechWindows.")
    return int(sensors.subject[0])


def _speech(batch: Batch) -> Tensor:
    if "speech" not in batch.paired:
        raise DataError("the windows have no speech features: use SpeechWindows.")
    if not torch.isfinite(batch.paired["speech"]).all():
        raise DataError("speech features hold NaN or infinity: check the sound files.")
    return batch.paired["speech"]
