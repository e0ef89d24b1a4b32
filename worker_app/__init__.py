"""Workers: processes that lease tasks, run their handlers and publish what comes of it."""

from .app import Worker
from .context import Context, Retry
from .session import HandlerStuck

__all__ = ["Context", "HandlerStuck", "Retry", "Worker"]
