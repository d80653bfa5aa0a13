"""Brain recordings with the speech that was heard: words, sounds, representations, windows, splits by stimulus."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "corpus": ["SpeechCorpus", "load_speech"],
        "module": ["SpeechDataModule"],
        "positions": ["flat_positions"],
        "recording": ["SpeechRecording", "words_table"],
        "representations": ["LogMel", "OnnxSpeech", "SpeechRepresentation", "Wav2Vec2", "speech_features"],
        "sounds": ["read_sound"],
        "synthesis": ["synthesise_speech"],
        "split": ["SpeechSplit", "split_by_manifest", "split_speech"],
        "study": ["SpeechStudy"],
        "windows": ["SpeechWindows"],
        "words": ["words_of_sound"],
    },
)
