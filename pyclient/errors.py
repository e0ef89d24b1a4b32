"""The errors that callers meet.

PeakError
 ├─ Refused                    not admitted; nothing was stored; `retry_after` seconds
 │   ├─ QueueFull              no room in the queue or for the route
 │   ├─ RateLimited            a token bucket is empty
 │   ├─ TooLate                can't end before its deadline at the measured pace
 │   └─ QueueClosed            an operator closed the queue
 ├─ TaskError                  admitted, and ended without a result; `task_id`
 │   ├─ TaskFailed             the handler raised, or its result can't be carried
 │   ├─ TaskExpired            not served before its deadline
 │   ├─ TaskCancelled          cancelled by someone
 │   ├─ TaskLost               its worker or holder vanished, attempts used up
 │   └─ TaskDead               gave up after retries; kept as a dead letter
 ├─ Unavailable                Redis can't be reached, or can't serve now
 ├─ StateLost                  Redis came back without what it had acknowledged
 ├─ BadPayload                 a payload or result that can't be carried
 ├─ ScriptError                a script refused its arguments: a bug of the caller
 └─ ConfigError                a setting, address or server that can't work
"""

from __future__ import annotations


class PeakError(Exception):
    """The base of every error that peakshaver raises on purpose."""


class Refused(PeakError):
    """The task was not admitted, and nothing of it was stored.

    `retry_after` is in seconds, from the measured pace of the queue; None where waiting
    doesn't help (a cost above the burst, a closed queue).
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFull(Refused):
    """The queue has no capacity left for this level, or the route no room."""


class RateLimited(Refused):
    """A token bucket does not hold enough tokens; `retry_after` is exact."""


class TooLate(Refused):
    """At the measured pace the task would end after its deadline."""


class QueueClosed(Refused):
    """The queue takes no new tasks; the message carries the operator's reason."""


class TaskError(PeakError):
    """The task was admitted and ended without a result."""

    def __init__(self, message: str, *, task_id: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id


class TaskFailed(TaskError):
    """The handler raised; the message is `<class>: <text>` as the worker reports it."""


class TaskExpired(TaskError):
    """The deadline passed before the task was served."""


class TaskCancelled(TaskError):
    """Someone cancelled the task, or its owner was gone."""


class TaskLost(TaskError):
    """The worker (or holder) vanished, and no attempt was left."""


class TaskDead(TaskError):
    """All attempts were used up; the task is kept as a dead letter."""


class Unavailable(PeakError):
    """Redis can't be reached or can't serve; `code` is its error code, if it sent one.

    `unknown` says that the call may have run although no reply came.
    """

    def __init__(self, message: str, *, code: str = "", unknown: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.unknown = unknown


class StateLost(PeakError):
    """Redis lost a task that it had acknowledged (flushed, restored, failed over)."""

    def __init__(self, message: str, *, task_id: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id


class BadPayload(PeakError):
    """The value can't be carried: unsupported type, too deep, or too large."""


class ScriptError(PeakError):
    """A script answered BADARG, BADMODE, NEWER or OLDER; nothing was done."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code


class ConfigError(PeakError):
    """A setting, an address or a server that can't work; says what to do."""


__all__ = [
    "BadPayload",
    "ConfigError",
    "PeakError",
    "QueueClosed",
    "QueueFull",
    "RateLimited",
    "Refused",
    "ScriptError",
    "StateLost",
    "TaskCancelled",
    "TaskDead",
    "TaskError",
    "TaskExpired",
    "TaskFailed",
    "TaskLost",
    "TooLate",
    "Unavailable",
]
