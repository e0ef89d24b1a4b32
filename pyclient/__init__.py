"""peakshaver: a queue in front of an API that turns a stampede into a line.

async with Queue.from_url("redis://localhost") as queue:
    answer = await queue.call("resize", {"width": 80}, timeout=10)
"""

from .errors import (
    BadPayload,
    ConfigError,
    PeakError,
    QueueClosed,
    QueueFull,
    RateLimited,
    Refused,
    ScriptError,
    StateLost,
    TaskCancelled,
    TaskDead,
    TaskError,
    TaskExpired,
    TaskFailed,
    TaskLost,
    TooLate,
    Unavailable,
)
from .limiter import LocalRateLimiter, RateLimiter
from .model import Verdict
from .queue import Queue
from .slot import Lease
from .sync import SyncQueue
from .ticket import Ticket

__all__ = [
    "BadPayload",
    "ConfigError",
    "Lease",
    "LocalRateLimiter",
    "PeakError",
    "Queue",
    "QueueClosed",
    "QueueFull",
    "RateLimited",
    "RateLimiter",
    "Refused",
    "ScriptError",
    "StateLost",
    "SyncQueue",
    "TaskCancelled",
    "TaskDead",
    "TaskError",
    "TaskExpired",
    "TaskFailed",
    "TaskLost",
    "Ticket",
    "TooLate",
    "Unavailable",
    "Verdict",
]
