"""Control of Millrace mounts from Python: statistics, warm-ups, pins, access orders.

    import millrace

    mount = millrace.Mount("/mnt/data")
    mount.warm(["train"]).wait(progress=print)
    print(mount.stats()["counters"]["store.bytesFetched"])

`millrace.torch` has samplers that submit each epoch's order; it needs PyTorch, the rest needs nothing. The user of the
mount, and root, can use it. The routes and their fields: docs/api.md of the project.
"""

from .control import Job, JobFailed, MillraceError, Mount, NotMounted, mounts
from .program import program, version

__version__ = version()
__all__ = ["Job", "JobFailed", "MillraceError", "Mount", "NotMounted", "mounts", "program", "version"]
