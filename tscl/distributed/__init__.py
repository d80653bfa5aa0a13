"""The one place that talks to other processes."""

from tscl.distributed.joined import JoinedBatch, sum_of_all, world_size

__all__ = ["JoinedBatch", "sum_of_all", "world_size"]
