"""Encoders: signals (B, C, T) to embeddings per time step (B, D, T')."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "base": ["Encoder", "encode_pair"],
        "brain_conv": ["BrainConv"],
        "causal_conv": ["CausalConvEncoder"],
        "dilated_conv": ["DilatedConvEncoder"],
        "export": ["export_onnx", "export_program"],
        "from_braindecode": ["BraindecodeEncoder"],
        "from_tsai": ["TsaiEncoder"],
        "reference": ["from_reference_state"],
        "spatial": ["SpatialAttention", "SubjectLayer"],
        "storage": ["load_encoder", "load_state", "save_encoder", "save_state"],
    },
)
