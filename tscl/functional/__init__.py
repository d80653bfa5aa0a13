"""Pure tensor mathematics: no state, no files, no communication."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "clip": ["clip_loss", "match_logits", "siglip_loss"],
        "diagnostics": ["alignment", "effective_rank", "score_quantiles", "uniformity"],
        "group": ["group_contrast"],
        "infonce": ["global_info_nce", "local_info_nce"],
        "instance": ["hierarchical_contrast", "observation_contrast", "sample_contrast"],
        "kernels": ["mmd"],
        "pairs": ["twin_contrast"],
        "pooling": ["pool_time"],
        "simclr": ["nt_xent"],
    },
)
