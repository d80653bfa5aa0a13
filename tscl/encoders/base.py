"""What an encoder is, and how a pair of views goes through one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tscl.encoders.dropout import ShortDropout
from tscl.errors import ConfigError, DataError
from tscl.types import Sensors, View

if TYPE_CHECKING:
    from typing import Self


class Encoder(nn.Module):
    """Base of tscl's encoders: plain tensors in, a plain tensor out.

    Any ``nn.Module`` with a ``dim`` and this ``forward`` can take its place. A subclass writes :meth:`features`;
    ``output_dropout`` is applied behind it, so that two views that differ by dropout only need one pass.

    Parameters
    ----------
    dim : int
        Number D of embedding dimensions.
    dropout : float
        Probability of the dropout on the output.

    Attributes
    ----------
    causal : bool
        True where an output depends on its own and earlier steps only (False unless a subclass says so).
    pooled : bool
        True where it gives one embedding a window, (B, D, 1), and no time steps to compare (False unless a subclass
        says so).
    receptive_field : int
        Number of steps, its own included, on which one output of a causal encoder depends.
    takes_sensors : bool
        True where outputs depend on ``sensors`` (False unless a subclass says so).
    """

    causal = False
    pooled = False
    takes_sensors = False

    def __init__(self, dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.output_dropout = ShortDropout(dropout)

    @property
    def receptive_field(self) -> int:
        """Number of steps, its own included, on which one output depends."""
        raise NotImplementedError(f"{type(self).__name__} must define receptive_field, in steps.")

    def features(self, x: Tensor, mask: Tensor | None = None, sensors: Sensors | None = None) -> Tensor:
        """Embed without the last dropout; same arguments and shapes as :meth:`forward`."""
        raise NotImplementedError(f"{type(self).__name__} must define features(x, mask, sensors).")

    def config(self) -> dict[str, Any]:
        """Return the constructor arguments, JSON-serialisable, from which the same architecture can be built."""
        raise NotImplementedError(f"{type(self).__name__} must define config().")

    def forward(self, x: Tensor, mask: Tensor | None = None, sensors: Sensors | None = None) -> Tensor:
        """Embed every time step.

        Parameters
        ----------
        x : Tensor, shape (B, C, T), float32
            Signals; NaN marks missing values.
        mask : Tensor or None, shape (B, T) or (B, latent channels, T), bool
            Latent mask, True = keep, applied behind the encoder's stem.
        sensors : Sensors or None
            Positions and subjects, for encoders that use them.

        Returns
        -------
        Tensor, shape (B, D, T')
        """
        return self.output_dropout(self.features(x, mask, sensors))

    def save_pretrained(self, folder: str | Path, card: Mapping[str, Any] | None = None) -> Path:
        """Write the encoder into a new folder as the Hugging Face hub has it: safetensors, JSON and a model card.

        Parameters
        ----------
        folder : path
            Must not exist yet; gets ``model.safetensors``, ``config.json`` and ``README.md``, all or nothing.
        card : mapping, optional
            Further entries of the card's front matter, such as ``{"license": "mit", "datasets": ["ptbdb"]}``.

        Returns
        -------
        Path

        Raises
        ------
        DataError
            When the folder exists or cannot be written.
        """
        from tscl.encoders.pretrained import check_new, write_pretrained
        from tscl.files import atomic_folder

        folder = Path(folder)
        check_new(folder)
        use = (
            "from tscl.encoders import Encoder\n\n"
            f"encoder = Encoder.from_pretrained({folder.name!r})\n"
            f"z = encoder(x{', sensors=sensors' if self.takes_sensors else ''})  # (B, C, T) to (B, {self.dim}, T)"
        )
        with atomic_folder(folder) as temporary:
            write_pretrained(temporary, self, use, card)
        return folder

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path, *, local_files_only: bool = True, revision: str | None = None
    ) -> Self:
        """Read an encoder, in eval mode on the CPU whatever it was trained on.

        Parameters
        ----------
        name_or_folder : str or path
            A folder that :meth:`save_pretrained` wrote, this class's or an estimator's; the folder of a run of
            ``tscl fit``; or, with ``local_files_only=False``, the name of a model on the Hugging Face hub.
        local_files_only : bool
            False allows to fetch from the hub (``user/model``), which needs huggingface_hub.
        revision : str, optional
            Branch, tag or commit on the hub.

        Returns
        -------
        Encoder
            Of the class that was saved; ``Encoder.from_pretrained`` opens any.

        Raises
        ------
        DataNotFoundError, DataError
            When there is no model of that name, a file is missing or damaged, or it holds another class.
        ConfigError
            When the encoder's class cannot be rebuilt, or huggingface_hub is missing.
        """
        from tscl.encoders.pretrained import find_pretrained, read_encoder

        folder = find_pretrained(name_or_folder, local_files_only, revision)
        encoder = read_encoder(folder)
        if not isinstance(encoder, cls):
            kind = type(encoder).__name__
            raise DataError(f"{folder} holds a {kind}, not a {cls.__name__}: open it with that class.")
        return encoder


def encode_pair(
    encoder: nn.Module,
    first: View,
    second: View,
    sensors: Sensors | None = None,
    chunk_size: int | None = None,
    compiled: bool = False,
) -> tuple[Tensor, Tensor]:
    """Encode two views, in one pass where they differ by the output dropout only, and cut both to what they share.

    Parameters
    ----------
    encoder : nn.Module
        An :class:`Encoder`, or any module with the same ``forward``.
    first, second : View
        Two versions of one batch.
    sensors : Sensors or None
        Handed to the encoder.
    chunk_size : int, optional
        Encode so many windows at a time, and once more in the backward pass, so that activations of one chunk are held
        (gradient caching, Gao et al., RepL4NLP 2021). Exact, but for encoders with statistics over the batch.
    compiled : bool
        Run the encoder through ``torch.compile``; the module itself stays as it is.

    Returns
    -------
    tuple of two Tensors, each of shape (B, D, T')
        Of equal length, also where the steps of the encoder are coarser than those of the signals.

    Raises
    ------
    ConfigError
        When the views share less than one step of the encoder's output.
    """
    if chunk_size is None or len(first.x) <= chunk_size:
        z1, z2 = _encode(encoder, first, second, sensors, compiled)
    else:
        chunks = [slice(start, start + chunk_size) for start in range(0, len(first.x), chunk_size)]
        parts = [
            checkpoint(_encode_rows, encoder, first, second, sensors, rows, compiled, use_reentrant=False)
            for rows in chunks
        ]
        z1, z2 = (torch.cat(views) for views in zip(*parts, strict=True))
    z1, z2 = _shared(z1, first), _shared(z2, second)
    n_steps = min(z1.shape[2], z2.shape[2])
    if n_steps == 0:
        raise ConfigError(
            "the stretch that two views share is shorter than a step of the encoder's output: use longer windows, or "
            "an encoder that embeds every step."
        )
    return z1[:, :, :n_steps], z2[:, :, :n_steps]


def encode_compiled(encoder: nn.Module, view: View, sensors: Sensors | None = None) -> Tensor:
    """Encode one view, (B, D, T'), through ``torch.compile``; the module itself stays as it is.

    The output dropout is outside of what is compiled, which draws other random numbers.
    """
    z = _compiled()(encoder, view.x, view.mask, sensors)
    return encoder.output_dropout(z) if isinstance(encoder, Encoder) else z


def _encode(
    encoder: nn.Module, first: View, second: View, sensors: Sensors | None, compiled: bool
) -> tuple[Tensor, Tensor]:
    if _same(first, second) and isinstance(encoder, Encoder):
        features = (_compiled() if compiled else _features)(encoder, first.x, first.mask, sensors)
        return encoder.output_dropout(features), encoder.output_dropout(features)
    if compiled:
        return encode_compiled(encoder, first, sensors), encode_compiled(encoder, second, sensors)
    return encoder(first.x, first.mask, sensors), encoder(second.x, second.mask, sensors)


def _features(encoder: nn.Module, x: Tensor, mask: Tensor | None, sensors: Sensors | None) -> Tensor:
    return (encoder.features if isinstance(encoder, Encoder) else encoder)(x, mask, sensors)


@cache
def _compiled() -> Callable[..., Tensor]:
    """Compile a function of the encoder: nothing is attached to the module, whose copies and files stay as they are."""
    return torch.compile(_features)


def _encode_rows(
    encoder: nn.Module, first: View, second: View, sensors: Sensors | None, rows: slice, compiled: bool
) -> tuple[Tensor, Tensor]:
    one = _rows_of(first, rows)
    other = one if _same(first, second) else _rows_of(second, rows)
    of_rows = None if sensors is None else Sensors(*(part[rows] for part in sensors))
    return _encode(encoder, one, other, of_rows, compiled)


def _rows_of(view: View, rows: slice) -> View:
    return view._replace(x=view.x[rows], mask=None if view.mask is None else view.mask[rows])


def _same(first: View, second: View) -> bool:
    return first.x is second.x and first.mask is second.mask


def _shared(z: Tensor, view: View) -> Tensor:
    if view.span is None or z.shape[2] == 1:
        return z
    ratio = z.shape[2] / view.x.shape[2]
    return z[:, :, round(view.span[0] * ratio) : round(view.span[1] * ratio)]


def split_missing(x: Tensor, causal: bool = False) -> tuple[Tensor, Tensor]:
    """Replace missing values by zeros and say at which time steps something was missing.

    A channel that is missing throughout a window counts as absent (zeros) and does not spoil the other channels; any
    other NaN hides its whole time step, as in TS2Vec.

    Parameters
    ----------
    x : Tensor, shape (B, C, T), floating
    causal : bool
        Judge every step without the later ones: a channel counts as absent until its first value.

    Returns
    -------
    x : Tensor, shape (B, C, T)
        Without NaN.
    keep : Tensor, shape (B, T), bool
        False where a time step is missing.
    """
    missing = x.isnan()
    absent = (~missing).cumsum(dim=2) == 0 if causal else missing.all(dim=2, keepdim=True)
    keep = ~((missing & ~absent).any(dim=1) | missing.all(dim=1))
    return torch.where(missing | ~keep[:, None], torch.zeros_like(x), x), keep
