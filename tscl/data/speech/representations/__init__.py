"""Speech representations: what a brain signal is matched with."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "base": ["SpeechRepresentation"],
        "cache": ["speech_features"],
        "logmel": ["LogMel"],
        "onnx_speech": ["OnnxSpeech"],
        "wav2vec2": ["Wav2Vec2"],
    },
)
