"""Models of braindecode as encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from tscl.encoders.foreign import ForeignEncoder, build
from tscl.errors import ConfigError

MODELS = ("EEGNet", "Deep4Net", "EEGConformer", "Labram", "BIOT")
INSTALL = 'pip install "tscl[braindecode]"'


class BraindecodeEncoder(ForeignEncoder):
    """A model of braindecode, without its classification head.

    Missing and masked steps are zeros in the model's input. The weights are fresh: pretrained ones are not loaded.

    Parameters
    ----------
    in_channels : int
        Number C of channels.
    model : str
        EEGNet, Deep4Net or EEGConformer, whose steps are longer than those of the signals, (B, D, T'); Labram or BIOT,
        which are pooled, (B, D, 1).
    n_times : int or None
        Length T of the longest window, in steps; needed. Shorter windows are padded with zeros.
    sfreq : float or None
        Sampling rate, Hz; BIOT needs it.
    dim : int or None
        Number D of embedding dimensions, reached by a learned projection; None takes the model's width.
    ch_names : sequence of str or None
        Names of the channels in the 10-20 system, which Labram needs.
    output_dropout : float
        Probability of the dropout on the output, beside any of the model's own.
    **kwargs
        Settings of the model, as braindecode names them: numbers, strings and lists.

    Raises
    ------
    ConfigError
        When braindecode is not installed, the model is not among these, something that it needs is missing, or
        braindecode refuses the settings.

    References
    ----------
    https://braindecode.org (BSD-3), whose pages name the paper of every model.
    """

    def __init__(
        self,
        in_channels: int,
        model: str = "EEGNet",
        n_times: int | None = None,
        sfreq: float | None = None,
        dim: int | None = 320,
        ch_names: Sequence[str] | None = None,
        output_dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        if model not in MODELS:
            raise ConfigError(f"{model} is no encoder; use one of {', '.join(MODELS)}.")
        if n_times is None:
            raise ConfigError(f"{model} is built for one length of window: pass n_times, in time steps.")
        if model == "BIOT" and sfreq is None:
            raise ConfigError("BIOT looks at frequencies: pass sfreq, the sampling rate in Hz.")
        if model == "Labram" and (ch_names is None or len(ch_names) != in_channels):
            raise ConfigError(
                f"Labram tells channels apart by name: pass ch_names, the {in_channels} names in the 10-20 system."
            )
        names = None if ch_names is None else list(ch_names)
        settings = {"n_times": n_times, "sfreq": sfreq, **kwargs}
        backbone = build(
            f"braindecode's {model}",
            settings,
            lambda: _Headless(_model(model, n_chans=in_channels, n_outputs=2, **settings), model, names),
        )
        config = {
            "in_channels": in_channels,
            "model": model,
            "dim": dim,
            "ch_names": names,
            "output_dropout": output_dropout,
            **settings,
        }
        super().__init__(backbone, in_channels, dim, n_times, output_dropout, config)


def _model(name: str, **settings: Any) -> nn.Module:
    try:
        import braindecode.models
    except ImportError as error:
        raise ConfigError(f"{name} needs braindecode, which cannot be imported ({error}): {INSTALL}.") from error
    return getattr(braindecode.models, name)(**settings)


class _Headless(nn.Module):
    """A model without its classification head: (B, C, T) to (B, width, T') or (B, width)."""

    def __init__(self, model: nn.Module, name: str, ch_names: list[str] | None) -> None:
        super().__init__()
        model.final_layer = nn.Identity()
        if name == "EEGConformer":
            model.fc = nn.Identity()
        self.model = model
        self.tokens = name == "EEGConformer"
        self.named = {"ch_names": ch_names} if name == "Labram" else {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the features before the head."""
        z = self.model(x, **self.named)
        if self.tokens:
            return z.mT
        return z.flatten(2) if z.ndim == 4 else z
