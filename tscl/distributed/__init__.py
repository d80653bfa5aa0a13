"""The one place that talks to other processes."""

from tscl.distributed.joined import JoinedBatch, world_size

__all__ = ["JoinedBatch", "world_size"]
