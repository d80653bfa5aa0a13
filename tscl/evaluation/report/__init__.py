"""One HTML file that tells everything of a run, and opens without a network."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "content": ["Check", "Report"],
        "page": ["render_report", "write_report"],
        "points": ["EmbeddingPoints", "embedding_points"],
    },
)
