"""Backbones of tsai as encoders."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from tscl.encoders.foreign import ForeignEncoder, build
from tscl.errors import ConfigError


class _Architecture(NamedTuple):
    """Where a backbone is in tsai: its module, the attribute of the model, and whether it takes one length only."""

    module: str
    attribute: str
    fixed: bool = False
    settings: Mapping[str, Any] = {}


ARCHITECTURES = {
    "InceptionTimePlus": _Architecture("InceptionTimePlus", "backbone"),
    "ResNetPlus": _Architecture("ResNetPlus", "backbone"),
    "XResNet1dPlus": _Architecture("XResNet1dPlus", "backbone"),
    "XceptionTimePlus": _Architecture("XceptionTimePlus", "backbone"),
    "TCN": _Architecture("TCN", "tcn"),
    "OmniScaleCNN": _Architecture("OmniScaleCNN", "net", fixed=True),
    "LSTM_FCNPlus": _Architecture("RNN_FCNPlus", "backbone", fixed=True),
    "TSTPlus": _Architecture("TSTPlus", "backbone", fixed=True, settings={"key_padding_mask": False}),
    "PatchTST": _Architecture("PatchTST", "model", fixed=True, settings={"revin": False, "decomposition": False}),
    "TSiTPlus": _Architecture("TSiTPlus", "backbone", fixed=True, settings={"use_token": False}),
}

OURS = ("c_in", "c_out", "seq_len", "pred_dim", "custom_head")


class TsaiEncoder(ForeignEncoder):
    """A backbone of tsai, without its pooling and its head.

    Missing and masked steps are zeros in the backbone's input. ``docs/encoders.md`` says what each architecture gives.

    Parameters
    ----------
    in_channels : int
        Number C of input channels.
    arch : str
        InceptionTimePlus, ResNetPlus, XResNet1dPlus, XceptionTimePlus, TCN, OmniScaleCNN, LSTM_FCNPlus, TSTPlus,
        PatchTST or TSiTPlus. All give an embedding per time step or per patch, (B, D, T'), except LSTM_FCNPlus, which
        is pooled, (B, D, 1).
    n_times : int or None
        Length T of the longest window, in steps; the last five of the list need it, the others take any length.
    dim : int or None
        Number D of embedding dimensions, reached by a learned projection; None takes the backbone's width.
    output_dropout : float
        Probability of the dropout on the output, beside any of the backbone's own.
    **kwargs
        Settings of the architecture, as tsai names them: numbers, strings and lists.

    Raises
    ------
    ConfigError
        When the architecture is not among these, ``n_times`` is missing, or tsai refuses the settings.

    References
    ----------
    https://github.com/timeseriesAI/tsai (Apache 2.0), whose pages name the paper of every architecture.

    Examples
    --------
    >>> import torch
    >>> from tscl.encoders import TsaiEncoder
    >>> encoder = TsaiEncoder(in_channels=3, arch="InceptionTimePlus", dim=16, nf=8, depth=3)
    >>> encoder(torch.randn(2, 3, 50)).shape
    torch.Size([2, 16, 50])
    """

    def __init__(
        self,
        in_channels: int,
        arch: str = "InceptionTimePlus",
        n_times: int | None = None,
        dim: int | None = 320,
        output_dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        if arch not in ARCHITECTURES:
            why = ": counts of exceedances have no gradient" if "rocket" in arch.lower() else ""
            raise ConfigError(f"{arch} is no encoder{why}; use one of {', '.join(ARCHITECTURES)}.")
        chosen = ARCHITECTURES[arch]
        if chosen.fixed and n_times is None:
            raise ConfigError(f"{arch} is built for one length of window: pass n_times, in time steps.")
        if taken := sorted(set(kwargs) & {*OURS, *chosen.settings}):
            raise ConfigError(f"{', '.join(taken)} of {arch} is set by the encoder: leave it out.")
        if arch == "XceptionTimePlus" and in_channels == kwargs.get("nf", 16):
            raise ConfigError(
                f"tsai's XceptionTimePlus cannot have as many filters as channels ({in_channels}): pass another nf."
            )
        length = {"seq_len": n_times} if chosen.fixed else {}
        backbone = build(
            f"tsai's {arch}",
            {"n_times": n_times, **kwargs},
            lambda: _backbone(arch, c_in=in_channels, c_out=2, **length, **chosen.settings, **kwargs),
        )
        config = {
            "in_channels": in_channels,
            "arch": arch,
            "n_times": n_times,
            "dim": dim,
            "output_dropout": output_dropout,
            **kwargs,
        }
        super().__init__(backbone, in_channels, dim, n_times if chosen.fixed else None, output_dropout, config)


class _PatchBackbone(nn.Module):
    """PatchTST without its head: the features of all channels side by side, per patch."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        model.head = nn.Identity()
        model.revin_layer = nn.Identity()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T) to (B, C times width, patches)."""
        return self.model(x).flatten(1, 2)


def _backbone(arch: str, **settings: Any) -> nn.Module:
    """Build a model of tsai and return it without its head, fit to be copied and trained."""
    chosen = ARCHITECTURES[arch]
    try:
        kind = getattr(importlib.import_module(f"tsai.models.{chosen.module}"), arch)
    except ImportError as error:
        raise ConfigError(f"tsai's {arch} cannot be imported ({error}): pip install 'tsai>=0.4'.") from error
    if arch == "TSiTPlus" and (unknown := sorted(set(settings) - set(inspect.signature(kind.__init__).parameters))):
        raise TypeError(f"it does not know {', '.join(unknown)}")
    backbone = getattr(kind(**settings), chosen.attribute)
    if arch == "PatchTST":
        return _PatchBackbone(backbone)
    if arch == "TCN":
        for block in backbone:
            del block.conv1, block.conv2  # second names of what block.net holds, which a file must hold once
    for module in backbone.modules():
        if hasattr(module, "weight_g"):
            # The old weight norm keeps a tensor that cannot be copied, and the average of the weights is a copy.
            nn.utils.remove_weight_norm(module)
            nn.utils.parametrizations.weight_norm(module)
    return backbone
