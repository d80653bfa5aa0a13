"""The brain encoder of Defossez et al. 2023."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tscl.encoders.base import Encoder
from tscl.encoders.spatial import SpatialAttention, SubjectLayer
from tscl.errors import ConfigError
from tscl.types import Sensors


class _ConvBlock(nn.Module):
    """Two dilated convolutions, each batch-normalised and activated beside a shortcut, and a gated linear unit."""

    def __init__(self, in_channels: int, channels: int, kernel_size: int, dilations: tuple[int, int]) -> None:
        super().__init__()
        widths = (in_channels, channels)
        self.convs = nn.ModuleList(
            nn.Conv1d(width, channels, kernel_size, dilation=dilation, padding=dilation * (kernel_size // 2))
            for width, dilation in zip(widths, dilations, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(channels) for _ in dilations)
        self.gate = nn.Conv1d(channels, 2 * channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, T) to (B, channels, T)."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            y = F.gelu(norm(conv(x)))
            x = x + y if x.shape == y.shape else y
        return F.glu(self.gate(x), dim=1)


class BrainConv(Encoder):
    """M/EEG to the features of the speech that was heard (Defossez et al. 2023, brain module).

    Spatial attention over sensor positions, a convolution of width 1, a layer of each subject's own, ``depth`` blocks
    of two dilated residual convolutions and a gated linear unit (dilations 2^(2k mod 5) and 2^((2k + 1) mod 5)), and
    two convolutions of width 1 to the ``dim`` speech features, at the rate of the signals. The defaults are the
    paper's.

    Parameters
    ----------
    in_channels : int
        Number of sensors, the largest of all subjects; only used where ``attention`` is off.
    dim : int
        Number D of speech features.
    n_subjects : int
        Number of subjects that have a layer of their own.
    virtual : int
        Virtual channels of the attention.
    hidden : int
        Width of the blocks.
    depth : int
        Number of blocks.
    kernel_size : int
        Odd width of the convolutions, steps.
    n_frequencies : int
        Frequencies along each axis of the attention's Fourier series.
    spatial_dropout : float
        See :class:`~tscl.encoders.SpatialAttention`.
    attention : bool
        Attend by position; otherwise a convolution of width 1 takes the sensors in their order (an ablation, which
        needs the same sensors for all subjects to make sense).
    subject_layer : bool
        Give each subject a layer.

    Raises
    ------
    ConfigError
        When ``kernel_size`` is even.

    Notes
    -----
    A sensor that is NaN throughout a window is left out of the attention; other missing values become 0. Windows
    without ``sensors`` go through the mean subject's layer, and are refused by the attention.

    Examples
    --------
    >>> import torch
    >>> from tscl.types import Sensors
    >>> encoder = BrainConv(in_channels=20, dim=8, n_subjects=2, virtual=6, hidden=8, n_frequencies=4)
    >>> sensors = Sensors(torch.rand(3, 20, 2), torch.tensor([0, 1, -1]))
    >>> encoder(torch.randn(3, 20, 50), sensors=sensors).shape
    torch.Size([3, 8, 50])
    """

    def __init__(
        self,
        in_channels: int,
        dim: int,
        n_subjects: int,
        virtual: int = 270,
        hidden: int = 320,
        depth: int = 5,
        kernel_size: int = 3,
        n_frequencies: int = 32,
        spatial_dropout: float = 0.2,
        attention: bool = True,
        subject_layer: bool = True,
    ) -> None:
        super().__init__(dim)
        if kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size is {kernel_size}: use an odd number, so that the length stays the same.")
        self._config = {
            "in_channels": in_channels,
            "dim": dim,
            "n_subjects": n_subjects,
            "virtual": virtual,
            "hidden": hidden,
            "depth": depth,
            "kernel_size": kernel_size,
            "n_frequencies": n_frequencies,
            "spatial_dropout": spatial_dropout,
            "attention": attention,
            "subject_layer": subject_layer,
        }
        self.attention = SpatialAttention(virtual, n_frequencies, spatial_dropout) if attention else None
        self.stem = nn.Conv1d(virtual if attention else in_channels, virtual, 1)
        self.subjects = SubjectLayer(n_subjects, virtual) if subject_layer else None
        self.blocks = nn.Sequential(
            *(
                _ConvBlock(
                    virtual if k == 0 else hidden, hidden, kernel_size, (2 ** (2 * k % 5), 2 ** ((2 * k + 1) % 5))
                )
                for k in range(depth)
            )
        )
        self.out = nn.Sequential(nn.Conv1d(hidden, 2 * hidden, 1), nn.GELU(), nn.Conv1d(2 * hidden, dim, 1))

    @property
    def takes_sensors(self) -> bool:  # type: ignore[override]
        """Whether positions (attention) or subjects (subject layer) are used."""
        return self.attention is not None or self.subjects is not None

    def config(self) -> dict[str, Any]:
        """Return the constructor arguments, with the subjects that were added since."""
        added = {} if self.subjects is None else {"n_subjects": len(self.subjects.matrices)}
        return {**self._config, **added}

    def add_subject(self) -> int:
        """Add a layer for a new subject, starting at the mean of the others, and return the subject's index.

        Raises
        ------
        ConfigError
            When the encoder has no subject layer.
        """
        if self.subjects is None:
            raise ConfigError("the encoder has no subject layer: there is nothing to calibrate to a new subject.")
        return self.subjects.add_subject()

    def features(self, x: Tensor, mask: Tensor | None = None, sensors: Sensors | None = None) -> Tensor:
        """Embed without the last dropout; see :meth:`Encoder.forward`."""
        missing = x.isnan()
        x = x.masked_fill(missing, 0.0)
        if self.attention is not None:
            if sensors is None:
                raise ConfigError("the spatial attention needs sensor positions: pass sensors, or use attention=False.")
            x = self.attention(x, sensors.positions, ~missing.all(dim=2))
        x = self.stem(x)
        if mask is not None:
            x = x * (mask if mask.ndim == 3 else mask[:, None])
        if self.subjects is not None:
            subject = x.new_full((len(x),), -1, dtype=torch.int64) if sensors is None else sensors.subject
            x = self.subjects(x, subject)
        return self.out(self.blocks(x))
