"""The names of fastapi-queue, on peakshaver: change the import line and nothing else.

    from pyclient.compat.fastapi_queue import (
        DistributedTaskApplyManager, QueueWorker, RateLimiter,
    )

Same arguments, results and calling forms. Settings that the constructors have no place for come
from the PEAK_* variables of the process (PEAK_PREFIX, PEAK_QUEUE, PEAK_LEASE, PEAK_DRAIN_TIMEOUT,
PEAK_MAX_QUEUE); docs/migrate/from-fastapi-queue.md says what is better here, and how the same
program looks in the native way.
"""

import warnings

from .gateway import shutdown
from .limiter import RateLimiter
from .manager import DistributedTaskApplyManager
from .worker import QueueWorker

warnings.warn(
    "the names of fastapi-queue are kept for moving over; the native way is pyclient.Queue "
    "(call, submit), worker_app.Worker and pyclient.fastapi.RateLimit: see "
    "docs/migrate/from-fastapi-queue.md",
    DeprecationWarning,
    stacklevel=2,
)

__all__ = ["DistributedTaskApplyManager", "QueueWorker", "RateLimiter", "shutdown"]
