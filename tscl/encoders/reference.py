"""Use checkpoints of the authors' TS2Vec and COMET code."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tscl.encoders.dilated_conv import DilatedConvEncoder


def from_reference_state(state: Mapping[str, Tensor]) -> DilatedConvEncoder:
    """Build the encoder that the authors' parameter names and shapes describe.

    Parameters
    ----------
    state : mapping of str to Tensor
        ``state_dict`` of ``TSEncoder`` as TS2Vec and COMET save it (read it with ``torch.load(path,
        weights_only=True)``), also when wrapped by ``AveragedModel`` or ``DataParallel``.

    Returns
    -------
    DilatedConvEncoder

    Raises
    ------
    ValueError
        When the names are not those of that encoder.

    References
    ----------
    https://github.com/zhihanyue/ts2vec and https://github.com/DL4mHealth/COMET (MIT): parameter names only.
    """
    plain = {name.replace("module.", ""): value for name, value in state.items() if not name.endswith("n_averaged")}
    renamed = {}
    for name, value in plain.items():
        if name.startswith("input_fc."):
            renamed[name.replace("input_fc", "stem")] = value[..., None] if name.endswith("weight") else value
        elif name.startswith("feature_extractor.net."):
            renamed[name.replace("feature_extractor.net", "blocks")] = value
        else:
            raise ValueError(f"{name!r} is not a parameter of the TS2Vec encoder: is this another model's checkpoint?")
    if "stem.weight" not in renamed:
        raise ValueError("the checkpoint has no 'input_fc.weight': is this another model's checkpoint?")
    last = max(int(name.split(".")[1]) for name in renamed if name.startswith("blocks."))
    kernel = renamed[f"blocks.{last}.conv2.conv.weight"]
    encoder = DilatedConvEncoder(
        in_channels=renamed["stem.weight"].shape[1],
        dim=kernel.shape[0],
        hidden=renamed["stem.weight"].shape[0],
        depth=last,
        kernel_size=kernel.shape[2],
    )
    encoder.load_state_dict(renamed)
    return encoder
