"""Which of many stretches of speech was heard: ranks among all candidates, and the linear baseline."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "backward": ["BackwardModel"],
        "examples": ["best_candidates"],
        "protocol": ["Candidates", "candidates_of", "evaluate_retrieval", "score_matrix"],
        "ranking": ["chance_level", "match_scores", "retrieval_metrics", "tie_sizes", "true_ranks"],
        "results": ["RetrievalResults"],
        "words": ["plain_word", "word_chance", "word_ranks"],
    },
)
